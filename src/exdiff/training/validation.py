"""Scores on a fixed set of examples while a run goes, through the same Enhancer that users have.

The examples come from the data set of the run, far beyond the indices that it trains on: they tell how training goes.
How a model does on speakers it never met is the business of `exdiff evaluate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from exdiff.config import Recipe
from exdiff.enhancer import from_recipe
from exdiff.metrics import METRICS
from exdiff.training.options import Options
from exdiff.training.ranks import Ranks

FAR = 2**40  # index of the first validation example
SCORES = ("si_sdr", "si_sir", "si_sar")
SHOWN = 3


@dataclass(frozen=True)
class Example:
    """What was enhanced, and how: waveforms [T]."""

    mixture: np.ndarray
    estimate: np.ndarray
    clean: np.ndarray


def validate(
    model: nn.Module, recipe: Recipe, source: Any, options: Options, ranks: Ranks
) -> tuple[dict[str, float], list[Example]]:
    """Mean SI-SDR, SI-SIR, SI-SAR (dB) of a model and of the mixture, over examples with speech and noise.

    The processes take the examples in turn and add up. The first few of this process come along, to look at and hear.
    """
    enhancer = from_recipe(model, recipe, device=str(ranks.device))
    names = [prefix + name for prefix in ("", "mixture_") for name in SCORES]
    rows, heard = [], []
    for index in range(FAR + ranks.rank, FAR + options.validate_examples, ranks.count):
        clean, mixture = source[index]
        if not clean.any() or np.array_equal(clean, mixture):
            continue  # no speech, or nothing to remove: a ratio of the two would mean nothing
        estimate = np.asarray(enhancer(mixture, recipe.sample_rate))
        estimate, mixture, clean = (np.atleast_2d(x).mean(axis=0) for x in (estimate, mixture, clean))
        rows.append([_scores(signal, clean, mixture, recipe.sample_rate) for signal in (estimate, mixture)])
        if len(heard) < SHOWN:
            heard.append(Example(mixture, estimate, clean))
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(names))
    sums, counts = table.nansum(0), (~table.isnan()).sum(0).double()
    ranks.average([sums, counts])
    means = {n: float(s / c) for n, s, c in zip(names, sums, counts, strict=True) if c > 0}
    return {name: round(mean, 3) for name, mean in means.items()}, heard


def _scores(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, rate: int) -> list[float]:
    scores = METRICS["si_sdr"](estimate, clean, mixture, rate)
    return [scores[name] for name in SCORES]
