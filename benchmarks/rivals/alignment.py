"""How late a rival's output is, measured on the data, and its output put where the input was.

A delay that nobody compensates would cost a waveform score like SI-SDR far more than any noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np


def lag(reference: np.ndarray, delayed: np.ndarray, longest: int) -> int:
    """By how many samples `delayed` comes after `reference`, 0 to `longest`: the peak of their cross-correlation.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=1000)
        >>> lag(noise, np.pad(noise, (7, 0)), 20)
        7
    """
    size = 1 << (len(reference) + len(delayed)).bit_length()
    product = np.fft.rfft(delayed, size) * np.fft.rfft(reference, size).conj()
    return int(np.fft.irfft(product, size)[: longest + 1].argmax())


def common(lags: Sequence[int]) -> int:
    """The delay of a system, of those that were measured: one file in which it kept nothing must not decide.

    Example:
        >>> common([384, 384, 0])
        384
    """
    return round(median(lags))


def shifted(wave: np.ndarray, delay: int, length: int) -> np.ndarray:
    """`length` samples of `wave` from `delay` on, zeros where it has ended.

    Example:
        >>> shifted(np.array([0, 0, 1, 2]), 2, 3).tolist()
        [1, 2, 0]
    """
    cut = wave[delay : delay + length]
    return np.pad(cut, (0, length - len(cut)))
