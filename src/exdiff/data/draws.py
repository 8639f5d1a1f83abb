"""Random choices at a cost that does not grow with the number of clips, and the ranges that values are drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


class WeightedChoice:
    """Draws an index in proportion to its weight.

    The result is that of `rng.choice(len(weights), p=weights / sum(weights))`, which adds up all weights at each call;
    here they are added up once.

    Args:
        weights: one number an index, none negative.

    Raises:
        ValueError: no weight is positive, or one is negative or not finite.

    Example:
        >>> choose = WeightedChoice([0, 3, 0])
        >>> choose(np.random.default_rng(0))
        1
    """

    def __init__(self, weights: ArrayLike) -> None:
        values = np.asarray(weights, np.float64)
        total = values.sum()
        if not (values >= 0).all() or not np.isfinite(total) or total <= 0:
            raise ValueError("weights must be finite, not negative, and not all zero")
        self._cumulative = (values / total).cumsum()
        self._cumulative /= self._cumulative[-1]

    def __call__(self, rng: np.random.Generator) -> int:
        return int(self._cumulative.searchsorted(rng.random(), side="right"))


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of `items`, each equally likely: what `rng.choice` gives, without a copy of the whole list.

    Example:
        >>> pick(np.random.default_rng(0), "aaa")
        'a'
    """
    return items[int(rng.integers(0, len(items)))]


def check_ranges(options: Any) -> None:
    """Refuse a dataclass that has a pair of numbers (low, high) with low above high, or an infinite one.

    Raises:
        ValueError: names the field.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Levels:
        ...     level_db: tuple[float, float]
        >>> check_ranges(Levels((-10, -30)))
        Traceback (most recent call last):
        ValueError: level_db must be [low, high], got [-10, -30]
    """
    for item in fields(options):
        value = getattr(options, item.name)
        if isinstance(value, tuple) and not (value[0] <= value[1] and all(map(math.isfinite, value))):
            raise ValueError(f"{item.name} must be [low, high], got {list(value)}")
