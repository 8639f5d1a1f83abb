"""Scores along a file: SI-SDR in short segments, and the part of a long file in which systems differ most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from exdiff.evaluation.metrics import si_sdr

SEGMENT_SECONDS, HOP_SECONDS = 0.5, 0.25
QUIET_DB = -30.0  # a segment this far below the clean signal's level is a pause, in which SI-SDR is meaningless

Curve = Sequence[float | None]


def segment_scores(
    estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int
) -> list[float | None]:
    """SI-SDR in dB of half seconds, every quarter of a second; None in pauses of the clean signal.

    Signals are [T] or [C, T]; scores are computed from the mean over channels.

    Example:
        >>> clean, noise = np.random.default_rng(0).normal(size=(2, 8000))
        >>> len(segment_scores(clean + 0.1 * noise, clean, clean + noise, 8000))
        3
    """
    estimate, clean, mixture = (x if x.ndim == 1 else x.mean(axis=0) for x in (estimate, clean, mixture))
    size, hop = (round(seconds * sample_rate) for seconds in (SEGMENT_SECONDS, HOP_SECONDS))
    starts = range(0, max(1, clean.size - size + 1), hop)
    energy = [float(np.mean(np.square(clean[start : start + size], dtype=np.float64))) for start in starts]
    least = 10 ** (QUIET_DB / 10) * float(np.mean(np.square(clean, dtype=np.float64)))
    scores: list[float | None] = []
    for start, level in zip(starts, energy, strict=True):
        part = slice(start, start + size)
        loud = level > least
        value = si_sdr(estimate[part], clean[part], mixture[part], sample_rate)["si_sdr"] if loud else math.nan
        scores.append(None if math.isnan(value) else round(value, 3))
    return scores


def times_of(count: int) -> np.ndarray:
    """The middle of each segment, in seconds.

    Example:
        >>> times_of(3).tolist()
        [0.25, 0.5, 0.75]
    """
    return np.arange(count) * HOP_SECONDS + SEGMENT_SECONDS / 2


def gaps(curves: Mapping[str, Curve]) -> list[float]:
    """Difference between the best and the worst system in each segment, in dB; 0 where a score is undefined.

    Example:
        >>> gaps({"A": [1.0, None], "B": [3.5, 2.0]})
        [2.5, 0.0]
    """
    columns = zip(*curves.values(), strict=True)
    return [0.0 if None in column else max(column) - min(column) for column in columns]  # type: ignore[type-var]


def excerpt(curves: Mapping[str, Curve], seconds: float, longest: float) -> tuple[float, float]:
    """The part (start, end in seconds) of at most `longest` seconds in which the systems differ most.

    Example:
        >>> excerpt({"A": [0.0] * 80, "B": [0.0] * 60 + [9.0] * 20}, seconds=20.25, longest=5.0)
        (15.0, 20.0)
    """
    if seconds <= longest:
        return 0.0, seconds
    total = np.concatenate([[0.0], np.cumsum(gaps(curves))])
    count = min(int(longest / HOP_SECONDS), len(total) - 1)
    start = int(np.argmax(total[count:] - total[:-count])) * HOP_SECONDS
    return start, min(start + longest, seconds)
