"""SDR of songs: BSS Eval version 4 (Vincent et al. 2006; Stöter et al. 2018), as published for MUSDB18.

SDR of images is |clean|^2 / |estimate - clean|^2 in each second over all channels: the distortion filters, which take
minutes per song, only divide the error among ISR, SIR and SAR, which are not computed here. A song's score is the
median over its seconds; the published score of a data set is the median over its songs.
"""

from __future__ import annotations

import math

import numpy as np

from exdiff.evaluation.metrics.si_sdr import LIMIT
from exdiff.evaluation.metrics.signals import checked


def sdr(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """SDR of `estimate` [T] or [C, T] in dB within +-100: the median over whole seconds; it depends on the level.

    As in BSS Eval, seconds in which the clean signal, the rest of the mixture or the estimate is digital silence are
    skipped. `nan` if none is left.

    Args:
        estimate: enhanced signal.
        clean: reference.
        mixture: reference plus the rest.
        sample_rate: Hz; a signal shorter than one second is one frame.

    Raises:
        AudioError: the signals are not of equal shape and finite.

    Example:
        >>> clean, rest = np.random.default_rng(0).normal(size=(2, 2, 32000))
        >>> round(sdr(0.9 * clean, clean, clean + rest, 16000)["sdr"], 6)
        20.0
    """
    estimate, clean, mixture = checked(estimate, clean, mixture, channels=True)
    frames = max(1, clean.shape[-1] // sample_rate)
    size = sample_rate if clean.shape[-1] > sample_rate else clean.shape[-1]
    ratios = []
    for start in range(0, frames * size, size):
        reference, guess, whole = (np.atleast_2d(x)[:, start : start + size] for x in (clean, estimate, mixture))
        if any(not x.sum(axis=0).any() for x in (reference, whole - reference, guess)):
            continue
        signal, error = np.sum(reference**2), np.sum((guess - reference) ** 2)
        ratios.append(LIMIT if error == 0 else min(max(10 * math.log10(signal / error), -LIMIT), LIMIT))
    return {"sdr": float(np.median(ratios)) if ratios else math.nan}
