"""Scores on a fixed set of examples during a run, through the same Enhancer that users have.

The examples come from the run's own data set, at indices far beyond those it trains on, so they show the progress of
training. Use `exdiff evaluate` for speakers that the model has never heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from exdiff.core.errors import DivergenceError
from exdiff.core.recipe import Recipe
from exdiff.evaluation.metrics import METRICS
from exdiff.inference.loading import from_recipe
from exdiff.training.options import Options
from exdiff.training.world import World

FIRST = 2**40  # index of the first validation example
SCORES = ("si_sdr", "si_sir", "si_sar")
KEPT = 3  # examples that are returned


@dataclass(frozen=True)
class Example:
    """One validation example: waveforms [T]."""

    mixture: np.ndarray
    estimate: np.ndarray
    clean: np.ndarray


def validate(
    model: nn.Module, recipe: Recipe, source: Any, options: Options, world: World
) -> tuple[dict[str, float], list[Example]]:
    """Mean SI-SDR, SI-SIR, SI-SAR (dB) of a model and of the mixture, over examples with speech and noise.

    The examples are divided over the processes. The first few of this process are returned, for display.
    """
    enhancer = from_recipe(model, recipe, device=str(world.device))
    names = [prefix + name for prefix in ("", "mixture_") for name in SCORES]
    rows, kept = [], []
    for index in range(FIRST + world.rank, FIRST + options.validate_examples, world.size):
        clean, mixture = source[index]
        if not clean.any() or np.array_equal(clean, mixture):
            continue  # no speech, or nothing to remove: no ratio of the two is defined
        try:
            estimate = np.asarray(enhancer(mixture, recipe.sample_rate))
        except DivergenceError:
            estimate = None  # training goes on, and the mean is that of the others
        mixture, clean = (np.atleast_2d(x).mean(axis=0) for x in (mixture, clean))
        if estimate is not None:
            estimate = np.atleast_2d(estimate).mean(axis=0)
        rows.append([_scores(signal, clean, mixture, recipe.sample_rate) for signal in (estimate, mixture)])
        if estimate is not None and len(kept) < KEPT:
            kept.append(Example(mixture, estimate, clean))
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(names))
    sums, counts = table.nansum(0), (~table.isnan()).sum(0).double()
    world.average([sums, counts])
    means = {n: float(s / c) for n, s, c in zip(names, sums, counts, strict=True) if c > 0}
    return {name: round(mean, 3) for name, mean in means.items()}, kept


def _scores(estimate: np.ndarray | None, clean: np.ndarray, mixture: np.ndarray, rate: int) -> list[float]:
    if estimate is None:
        return [math.nan] * len(SCORES)
    scores = METRICS["si_sdr"](estimate, clean, mixture, rate)
    return [scores[name] for name in SCORES]
