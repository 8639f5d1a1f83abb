"""Extended short-time objective intelligibility (Jensen and Taal 2016), by the package `pystoi`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from exdiff.evaluation.metrics.signals import checked, require

SHORTEST_SECONDS = 0.41  # 30 frames of 256 samples, hop 128, at 10 kHz


def estoi(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """ESTOI of `estimate` [T] against `clean` [T]: 0 (or a little less) to 1.

    `nan` where it is undefined: `clean` is silent, or shorter than 0.41 s without its pauses. A silent estimate has 0.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T].
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; the package resamples to 10 kHz.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `pystoi` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> estoi(silence, silence, silence, 16000)
        {'estoi': nan}
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    require("estoi", ("pystoi",))
    from pystoi import stoi

    if not clean.any() or len(clean) < SHORTEST_SECONDS * sample_rate:
        return {"estoi": math.nan}
    if not estimate.any():
        return {"estoi": 0.0}
    with _fixed_numpy_seed(), warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames")
        try:
            return {"estoi": float(stoi(clean, estimate, sample_rate, extended=True))}
        except RuntimeWarning:
            return {"estoi": math.nan}


@contextmanager
def _fixed_numpy_seed() -> Iterator[None]:
    """The package adds noise from numpy's global generator, which affects the score of digitally silent passages."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)
