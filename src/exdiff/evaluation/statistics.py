"""Means with bootstrap intervals, and paired differences: from rows of scores to a summary.

An undefined score (None or nan) is left out of the mean and counted, so that a mean over 57 files is not mistaken for
one over 60. Differences use only the files for which both systems have the score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# One file and system: `file`, `system`, `seconds`, `rtf`, the scores by name, or `error`.
ScoreRow = dict[str, Any]
RESAMPLES = 2000
FEWEST = 6  # files; the bootstrap of fewer gives intervals that are far too narrow
NOT_SCORES = frozenset({"file", "system", "seconds", "rtf", "error", "trust", "segments"})


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> list[float] | None:
    """Percentile bootstrap interval [low, high] of the mean of `values`; None for fewer than six.

    Example:
        >>> bootstrap_interval([1.0] * 6), bootstrap_interval([1.0] * 5)
        ([1.0, 1.0], None)
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < FEWEST:
        return None
    generator = np.random.default_rng(seed)
    means = [data[generator.integers(0, data.size, data.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def spearman(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Rank correlation of two series; ties share their mean rank; nan if one series is constant.

    Example:
        >>> spearman([1, 2, 3], [10, 100, 1000])
        1.0
    """
    ranks = np.stack([_ranks(np.asarray(values, dtype=np.float64)) for values in (x, y)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    energies = np.square(centred).sum(axis=1)
    return float(centred[0] @ centred[1] / math.sqrt(energies.prod())) if energies.all() else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[where]


def clustered_correlation(
    groups: Sequence[Sequence[Sequence[float]]], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """`rho` of all points and its `ci95` by bootstrap over groups: the seconds of a file are not independent.

    For fewer than six groups `ci95` is None.

    A group is (x, y); or (x, control, y), for how much better x correlates with y than the control does.

    Example:
        >>> clustered_correlation([([1, 2], [3, 4]), ([5, 6], [7, 8])])
        {'rho': 1.0, 'ci95': None}
    """
    if not groups:
        return {"rho": None, "ci95": None}
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    rho = _correlation(np.concatenate(arrays, axis=1))
    generator = np.random.default_rng(seed)
    draws = [generator.integers(0, len(arrays), len(arrays)) for _ in range(resamples if len(arrays) >= FEWEST else 0)]
    values = [_correlation(np.concatenate([arrays[i] for i in draw], axis=1)) for draw in draws]
    kept = [value for value in values if not math.isnan(value)]
    interval = [float(q) for q in np.quantile(kept, [0.025, 0.975])] if kept else None
    return {"rho": None if math.isnan(rho) else rho, "ci95": interval}


def _correlation(points: np.ndarray) -> float:
    first = spearman(points[0], points[-1])
    return first if len(points) == 2 else first - spearman(points[1], points[-1])


def describe(values: Iterable[float | None]) -> dict[str, Any]:
    """`mean`, `ci95` ([low, high] or None) and `median` of the defined values, and `nan`, the number of others.

    Example:
        >>> describe([1.0, 3.0, 8.0, None])["mean"], describe([1.0, 3.0, 8.0, None])["nan"]
        (4.0, 1)
    """
    every = list(values)
    kept = [value for value in every if value is not None and not math.isnan(value)]
    return {
        "mean": float(np.mean(kept)) if kept else None,
        "ci95": bootstrap_interval(kept),
        "median": float(np.median(kept)) if kept else None,
        "nan": len(every) - len(kept),
    }


def columns(rows: Sequence[ScoreRow]) -> list[str]:
    """Names of the scores in `rows`, in order of appearance.

    Example:
        >>> columns([{"file": "a", "system": "b", "pesq": 1.0}, {"file": "a", "system": "c", "estoi": 0.5}])
        ['pesq', 'estoi']
    """
    return list(dict.fromkeys(key for row in rows for key in row if key not in NOT_SCORES))


def summarise(rows: Sequence[ScoreRow], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per system: every score (see `describe`), `rtf` (seconds per second of audio) and `errors` (failed files).

    Example:
        >>> rows = [{"file": "1", "system": "A", "seconds": 2.0, "rtf": 0.5, "pesq": 2.0}]
        >>> summarise(rows, ["A"])["A"]["rtf"]
        0.5
    """
    scores, table = columns(rows), {}
    for name in names:
        good = [row for row in rows if row["system"] == name and "error" not in row]
        bad = sum(row["system"] == name and "error" in row for row in rows)
        table[name] = {score: describe(row.get(score) for row in good) for score in scores}
        timed = [row for row in good if row["rtf"] is not None]
        audio = sum(row["seconds"] for row in timed)
        table[name]["rtf"] = sum(row["rtf"] * row["seconds"] for row in timed) / audio if audio else None
        table[name]["errors"] = bad
    return table


def paired(rows: Sequence[ScoreRow], names: Sequence[str], baseline: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Differences file by file: `B - A` for every further system B, and `X - baseline` for every system X.

    `baseline` is one of `names`. Each score has `mean`, `ci95` and `files` (the number that have both).

    Example:
        >>> rows = [{"file": "1", "system": "A", "pesq": 2.0}, {"file": "1", "system": "mixture", "pesq": 1.5}]
        >>> paired(rows, ["A", "mixture"], "mixture")
        {'A - mixture': {'pesq': {'mean': 0.5, 'ci95': None, 'files': 1}}}
    """
    others = [name for name in names if name != baseline]
    wanted = [(other, others[0]) for other in others[1:]] + [(other, baseline) for other in others]
    scores = columns(rows)
    by_system = {name: {row["file"]: row for row in rows if row["system"] == name} for name in names}
    return {
        f"{after} - {before}": {score: _difference(by_system[after], by_system[before], score) for score in scores}
        for after, before in wanted
    }


def _difference(after: Mapping[str, ScoreRow], before: Mapping[str, ScoreRow], score: str) -> dict[str, Any]:
    pairs = [(after[file].get(score), before[file].get(score)) for file in after if file in before]
    gains = [a - b for a, b in pairs if a is not None and b is not None and not math.isnan(a - b)]
    return {"mean": float(np.mean(gains)) if gains else None, "ci95": bootstrap_interval(gains), "files": len(gains)}
