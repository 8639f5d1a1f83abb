"""What an example is made of, drawn without a state: numbers of a batch, weighted choices, and the ranges of options.

Every number is a hash of (seed, stream, index of the example, place), see `exdiff.core.counters`. So an example is the
same in any batch, in any process and on any device.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from exdiff.core.counters import keys, uniform
from exdiff.core.errors import DataError

Array = np.ndarray


class Stream(IntEnum):
    """What the numbers of a data set are for. Training has the streams from 10 on."""

    DECISIONS = 0  # see `Part`
    BABBLE = 1  # who speaks in the background, and what
    SAMPLES = 2  # of made noise
    TAIL = 3  # samples of reverberation


class Part(Enum):
    """Places in the stream of decisions: the first and the last. New parts go before STRING, so that examples stay."""

    EXAMPLE = 0, 8  # which recordings, and what is done with them
    CROPS = 8, 24  # which sections of noise, music and songs
    ROOM = 24, 48  # which room, or how one is made; how vocals are spread
    EQUALISER = 48, 84  # of the interference, or of each stem of a song
    RECORDING = 84, 100  # equaliser and band limit of the whole, clipping, codec, level
    NOISE = 100, 140  # how noise is made
    STEMS = 140, 176  # gain and position of each stem of a song
    STRING = 256, None  # the clips of the target, one after another: as many numbers as a segment needs


class Draws:
    """The random numbers of a batch of examples.

    Args:
        seed: of the data set.
        indices: of the examples.
        string: numbers that the part STRING has.

    Example:
        >>> draws = Draws(0, [5, 9])
        >>> draws.part(Part.EXAMPLE).shape
        (2, 8)
        >>> bool((draws.of(np.array([1])).part(Part.ROOM) == draws.part(Part.ROOM)[1:]).all())
        True
    """

    def __init__(self, seed: int, indices: Sequence[int], string: int = 0) -> None:
        self._seed, self._indices = seed, torch.tensor(indices)
        self._decisions = self.table(Stream.DECISIONS, Part.STRING.value[0] + string)

    def __len__(self) -> int:
        return len(self._indices)

    def of(self, rows: Array) -> Draws:
        """The numbers of some of the examples."""
        if len(rows) == len(self):
            return self
        some = copy.copy(self)
        some._indices, some._decisions = self._indices[torch.from_numpy(rows)], self._decisions[rows]
        return some

    def part(self, part: Part) -> Array:
        """Float64 [B, count] in [0, 1), on the host."""
        return self._decisions[:, slice(*part.value)]

    def table(self, stream: Stream, count: int) -> Array:
        """Float64 [B, count] in [0, 1), on the host; a larger count only appends."""
        return uniform(self.keys(stream), count, torch.float64).numpy()

    def keys(self, stream: Stream) -> Tensor:
        """Int64 [B]: for `uniform` and `normal` on another device."""
        return keys(self._seed, stream, self._indices)


class Choice:
    """Draws indices in proportion to their weights, at a cost that does not grow with their number.

    Args:
        weights: one number an index, none negative.

    Raises:
        ValueError: no weight is positive, or one is negative or not finite.

    Example:
        >>> Choice([0, 3, 0, 1])(np.array([0.1, 0.8]))
        array([1, 3])
    """

    def __init__(self, weights: ArrayLike) -> None:
        values = np.asarray(weights, np.float64)
        total = values.sum()
        if not (values >= 0).all() or not np.isfinite(total) or total <= 0:
            raise ValueError("weights must be finite, not negative, and not all zero")
        self._cumulative = (values / total).cumsum()
        self._cumulative /= self._cumulative[-1]

    def __call__(self, numbers: Array) -> Array:
        """Indices for numbers in [0, 1), of the same shape."""
        return self._cumulative.searchsorted(numbers, side="right")


def choice(weights: ArrayLike, message: str) -> Choice:
    """A `Choice`, or a DataError that begins with the message."""
    try:
        return Choice(weights)
    except ValueError as error:
        raise DataError(f"{message} ({error})") from None


class Groups:
    """Lists of clips of which one is drawn at a time, each clip of a list equally often.

    Args:
        lists: none of them empty.

    Example:
        >>> Groups([[7], [3, 4]])(np.array([0, 1]), np.array([0.9, 0.9]))
        array([7, 4])
    """

    def __init__(self, lists: Sequence[Sequence[int]]) -> None:
        self._counts = np.array([len(members) for members in lists], np.int64)
        self._firsts = self._counts.cumsum() - self._counts
        self._members = np.array([member for members in lists for member in members], np.int64)

    def __len__(self) -> int:
        return len(self._counts)

    def __call__(self, group: Array, numbers: Array) -> Array:
        """A member of each group, for numbers in [0, 1)."""
        return self._members[self._firsts[group] + whole(numbers, self._counts[group])]


def whole(numbers: Array, count: ArrayLike) -> Array:
    """Whole numbers from 0 to `count` - 1, for numbers in [0, 1)."""
    return (numbers * count).astype(np.int64)


def between(numbers: Array, limits: tuple[float, float]) -> Array:
    """Values in a range, for numbers in [0, 1)."""
    low, high = limits
    return low + (high - low) * numbers


def gain(level_db: Array) -> Array:
    """The factor that changes the level by so many decibels."""
    return 10 ** (level_db / 20)


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
