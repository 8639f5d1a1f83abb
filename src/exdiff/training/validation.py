"""Scores on a fixed set of examples while a run goes, through the same Enhancer that users have.

The examples come from the data set of the run, far beyond the indices that it trains on: they tell how training goes.
How a model does on speakers it never met is the business of `exdiff evaluate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exdiff.config import Recipe
from exdiff.enhancer import from_recipe
from exdiff.metrics import METRICS
from exdiff.training.options import Options
from exdiff.training.state import State

FAR = 2**40  # index of the first validation example


def validate(state: State, recipe: Recipe, source: Any, options: Options) -> dict[str, float]:
    """Mean SI-SDR, SI-SIR, SI-SAR (dB) of the EMA model and of the mixture, over examples with speech and noise."""
    enhancer = from_recipe(state.ema.module, recipe)
    rows: dict[str, list[float]] = {}
    for index in range(FAR, FAR + options.validate_examples):
        clean, mixture = source[index]
        if not clean.any() or np.array_equal(clean, mixture):
            continue  # no speech, or nothing to remove: a ratio of the two would mean nothing
        for prefix, estimate in (("", enhancer(mixture, recipe.sample_rate)), ("mixture_", mixture)):
            scores = METRICS["si_sdr"](np.asarray(estimate), clean, mixture, recipe.sample_rate)
            for key, value in scores.items():
                rows.setdefault(prefix + key, []).append(value)
    return {key: round(float(np.nanmean(values)), 3) for key, values in rows.items() if not np.isnan(values).all()}
