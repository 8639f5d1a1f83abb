"""PESQ, wide-band (ITU-T P.862.2, 16 kHz) and narrow-band (P.862.1, 8 kHz), with the package `pesq`."""

from __future__ import annotations

import math

import numpy as np

from exdiff.evaluation.metrics.signals import at_rate, checked, require

RATE = 16000  # Hz
NARROW_RATE = 8000  # Hz
# The reference code stores utterances in arrays of 50 and writes past their end (a crash) in longer speech; an
# utterance with its pause lasts at least 0.4 s. P.862 itself is meant for signals of 8 to 30 s.
LONGEST_SECONDS = 20.0


def pesq(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """PESQ of `estimate` [T] against `clean` [T]: MOS-LQO, about 1.0 (worst) to 4.64.

    The score of more than 20 s is the mean over equal parts. `nan` where PESQ is undefined: no utterance (silence), or
    less than a quarter of a second.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T].
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; rates other than 16 kHz are resampled.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `pesq` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> pesq(silence, silence, silence, 16000)
        {'pesq': nan}
    """
    return {"pesq": _mean(*checked(estimate, clean, mixture)[:2], sample_rate, RATE)}


def pesq_nb(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Narrow-band PESQ: like `pesq`, at the telephone's 8 kHz; about 1.0 to 4.55.

    Papers before about 2015 report this score, which is higher for the same signal: do not compare the two.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T].
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; rates other than 8 kHz are resampled.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `pesq` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> pesq_nb(silence, silence, silence, 16000)
        {'pesq_nb': nan}
    """
    return {"pesq_nb": _mean(*checked(estimate, clean, mixture)[:2], sample_rate, NARROW_RATE)}


def _mean(estimate: np.ndarray, clean: np.ndarray, sample_rate: int, rate: int) -> float:
    estimate, clean = at_rate(estimate, sample_rate, rate), at_rate(clean, sample_rate, rate)
    parts = math.ceil(len(clean) / (LONGEST_SECONDS * rate))
    pairs = zip(np.array_split(clean, parts), np.array_split(estimate, parts), strict=True)
    scores = [score for score in (_score(*pair, rate) for pair in pairs) if not math.isnan(score)]
    return float(np.mean(scores)) if scores else math.nan


def _score(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    require("pesq", ("pesq",))
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as measure

    if not clean.any() or not estimate.any():  # the package divides by the level and fails on NaN
        return math.nan
    try:
        return float(measure(rate, clean, estimate, "wb" if rate == RATE else "nb"))
    except (NoUtterancesError, BufferTooShortError):
        return math.nan
