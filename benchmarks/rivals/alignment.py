"""Measure the delay of a rival's output on the data, and compensate it.

An uncompensated delay would lower a waveform score such as SI-SDR far more than any noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np


def lag(reference: np.ndarray, delayed: np.ndarray, longest: int) -> int:
    """The delay of `delayed` after `reference` in samples, 0 to `longest`: the peak of their cross-correlation.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=1000)
        >>> lag(noise, np.pad(noise, (7, 0)), 20)
        7
    """
    size = 1 << (len(reference) + len(delayed)).bit_length()
    product = np.fft.rfft(delayed, size) * np.fft.rfft(reference, size).conj()
    return int(np.fft.irfft(product, size)[: longest + 1].argmax())


def common(lags: Sequence[int]) -> int:
    """The delay of a system, the median over files: one file whose output is empty must not decide it.

    Example:
        >>> common([384, 384, 0])
        384
    """
    return round(median(lags))


def shifted(wave: np.ndarray, delay: int, length: int) -> np.ndarray:
    """`length` samples of `wave` from `delay` on, zero-padded at the end.

    Example:
        >>> shifted(np.array([0, 0, 1, 2]), 2, 3).tolist()
        [1, 2, 0]
    """
    cut = wave[delay : delay + length]
    return np.pad(cut, (0, length - len(cut)))
