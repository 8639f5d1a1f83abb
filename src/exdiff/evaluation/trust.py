"""How reliable a diffusion model's output is: the spread of several samples, and the difference from its extractor.

A generative model can invent a word that nobody said. Two signs need no clean reference: its samples differ from seed
to seed, or its output differs from the discriminative estimate that guides it. Both are levels in dB relative to the
signal in that second. Where a clean reference exists, their rank correlation with the error shows how good they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exdiff.core.errors import ConfigError
from exdiff.evaluation.pairs import Pair
from exdiff.evaluation.statistics import clustered_correlation
from exdiff.evaluation.systems import System

FLOOR_DB = -30.0  # relative to the whole signal: in a pause, ratios to the level of that second are meaningless
LOWEST_DB = -80.0
FLAG_DB = -15.0  # a difference of a thirtieth of the energy is heard as a different sound
MINIMUM_STEPS = 4  # with fewer posterior steps, noise is drawn so early that little of it remains


def sampling(enhancer: Any, steps: int | None = None, sampler: str | None = None) -> dict[str, Any] | None:
    """Options of a call whose result depends on the seed; None for a model that has no randomness.

    A model with a noisy prior or a stochastic sampler keeps its settings. The deterministic bridge, which starts at the
    anchor itself, is sampled by posterior steps instead (`bridge_sde`), at least 4 of them.

    Args:
        enhancer: an `Enhancer`.
        steps: of the call, by default those of the enhancer; 0 is the extractor alone.
        sampler: of the call, by default that of the enhancer.
    """
    from exdiff.model.samplers import SAMPLERS

    path = enhancer.model.path
    count = int(enhancer.steps if steps is None else steps)
    if path is None or count == 0:
        return None
    name = sampler or next((key for key, value in SAMPLERS.items() if value is enhancer.sampler), "exponential")
    draws = name in ("predictor_corrector", "euler_maruyama", "bridge_sde") and count > 1
    if draws or _noisy_prior(path):
        return {"sampler": name, "steps": count}
    return {"sampler": "bridge_sde", "steps": max(count, MINIMUM_STEPS)}


def _noisy_prior(path: Any) -> bool:
    import torch

    return bool(path.coefficients(torch.tensor(float(path.t_max))).sigma > 1e-3)


def check_samples(samples: int) -> None:
    """Raise unless `samples` is 0 (none) or large enough for a spread.

    Raises:
        ConfigError: 1, or less than 0.
    """
    if samples < 0 or samples == 1:
        raise ConfigError(f"samples must be 2 or more (or 0 for none), got {samples}")


def assess(
    system: System | Callable[..., Any], pair: Pair, estimate: np.ndarray, samples: int
) -> dict[str, Any] | None:
    """Uncertainty of a model's `estimate` of `pair`, second by second; None if the model has no randomness.

    Returns:
        `samples`, `sampler`, `steps`; lists with one level in dB per second: `uncertainty`, `disagreement` (None
        without an extractor), `removed` and `error`; and `flags`, see `flags_of`.
    """
    enhancer: Any = getattr(system, "func", None)
    if not isinstance(system, functools.partial) or not hasattr(enhancer, "model"):
        return None
    keywords = system.keywords
    options = sampling(enhancer, keywords.get("steps"), keywords.get("sampler"))
    if options is None:
        return None
    seed, rate = keywords.get("seed", 0), pair.sample_rate
    draws = [np.asarray(system(pair.mixture, rate, **options, seed=seed + k)) for k in range(samples)]
    uncertainty = spread_db(draws, rate)
    disagreement = None
    if enhancer.model.extractor is not None:
        disagreement = difference_db(estimate, np.asarray(system(pair.mixture, rate, steps=0, sampler=None)), rate)
    return {
        "samples": samples,
        **options,
        "uncertainty": uncertainty,
        "disagreement": disagreement,
        "removed": difference_db(pair.mixture, estimate, rate, relative_to=estimate),
        "error": difference_db(estimate, pair.clean, rate, relative_to=pair.clean),
        "flags": flags_of({"disagreement": disagreement or [], "uncertainty": uncertainty}, FLAG_DB),
    }


def edges_of(samples: int, sample_rate: int) -> np.ndarray:
    """Where seconds begin and end, in samples; a remainder of less than half a second joins the last.

    Example:
        >>> edges_of(27, 10).tolist(), edges_of(24, 10).tolist(), edges_of(3, 10).tolist()
        ([0, 10, 20, 27], [0, 10, 24], [0, 3])
    """
    whole, rest = divmod(samples, sample_rate)
    count = max(1, whole + (2 * rest >= sample_rate))
    return np.append(np.arange(count) * sample_rate, samples)


def spread_db(samples: Sequence[np.ndarray], sample_rate: int) -> list[float]:
    """Variance of `samples` ([T] or [C, T] each) relative to the energy of their mean, in dB, for each second.

    Example:
        >>> a = np.ones(8)
        >>> spread_db([1.1 * a, 0.9 * a], 8)
        [-16.99]
    """
    stack = np.stack([np.asarray(sample, np.float64) for sample in samples])
    mean = stack.mean(axis=0)
    variance = np.square(stack - mean).sum(axis=0) / (len(stack) - 1)
    return _relative(variance, np.square(mean), sample_rate)


def difference_db(
    one: np.ndarray, other: np.ndarray, sample_rate: int, relative_to: np.ndarray | None = None
) -> list[float]:
    """Energy of `one - other` relative to that of `relative_to` (their mean energy without it), in dB, for each second.

    Example:
        >>> difference_db(np.ones(8), 0.9 * np.ones(8), 8, relative_to=np.ones(8))
        [-20.0]
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    energy = (
        (np.square(one) + np.square(other)) / 2 if relative_to is None else np.square(relative_to.astype(np.float64))
    )
    return _relative(np.square(one - other), energy, sample_rate)


def _relative(part: np.ndarray, whole: np.ndarray, sample_rate: int) -> list[float]:
    edges = edges_of(part.shape[-1], sample_rate)
    sizes = np.diff(edges)
    above, below = (np.add.reduceat(np.atleast_2d(x).sum(axis=0), edges[:-1]) / sizes for x in (part, whole))
    below = np.maximum(below, 10 ** (FLOOR_DB / 10) * np.average(below, weights=sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(above > 0, 10 * np.log10(above / below), LOWEST_DB)
    return [round(float(value), 2) for value in np.clip(level, LOWEST_DB, -LOWEST_DB)]


def flags_of(levels: Mapping[str, Sequence[float]], threshold_db: float) -> list[dict[str, Any]]:
    """Stretches of seconds above the threshold: `start`, `end` (seconds) and `why`, the name of the level.

    Example:
        >>> flags_of({"disagreement": [-30.0, -9.0, -8.0, -40.0]}, -15.0)
        [{'start': 1, 'end': 3, 'why': 'disagreement'}]
    """
    flags = []
    for why, values in levels.items():
        above = np.concatenate([[False], np.asarray(values) > threshold_db, [False]]).astype(int)
        starts, ends = (np.flatnonzero(np.diff(above) == step) for step in (1, -1))
        flags += [{"start": int(a), "end": int(b), "why": why} for a, b in zip(starts, ends, strict=True)]
    return flags


def predictive_value(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Rank correlation over seconds between each sign and the error of system `name`.

    `removed`, the level of what was taken away relative to what is left, is the control: it needs no samples.
    `beyond_removed` is how much better the uncertainty correlates than the control.

    Returns:
        `files`, `seconds`, `flagged` (a share of the seconds); `rho` and `ci95` of each sign, by bootstrap over files.
    """
    tables = [row["trust"] for row in rows if row["system"] == name and row.get("trust")]
    seconds = sum(len(table["error"]) for table in tables)
    flagged = sum(len({s for flag in table["flags"] for s in range(flag["start"], flag["end"])}) for table in tables)
    result: dict[str, Any] = {
        "files": len(tables),
        "seconds": seconds,
        "flagged": flagged / seconds if seconds else None,
    }
    for sign in ("uncertainty", "disagreement", "removed"):
        groups = [(table[sign], table["error"]) for table in tables if table[sign] is not None]
        result[sign] = clustered_correlation(groups)
    both = [(table["uncertainty"], table["removed"], table["error"]) for table in tables]
    result["beyond_removed"] = clustered_correlation(both)
    return result
