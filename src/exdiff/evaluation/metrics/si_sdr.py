"""Scale-invariant energy ratios in dB: SI-SDR, SI-SIR and SI-SAR.

Le Roux et al. 2019 ("SDR - half-baked or well done?") as reported in the SGMSE papers. With the noise
n = mixture - clean, the estimate is split into its projection on clean, its projection on n, and the rest:

    target    = <estimate, clean> / |clean|^2 clean        SI-SDR = |target|^2 / |estimate - target|^2
    noise     = <estimate, n> / |n|^2 n                    SI-SIR = |target|^2 / |noise|^2
    artefacts = estimate - target - noise                  SI-SAR = |target|^2 / |artefacts|^2

As in those papers, the projections are separate and not joint as in BSS-Eval (they agree if clean and n are
orthogonal), the numerator of SI-SAR is the target alone (BSS-Eval adds the interference), and no mean is removed.
"""

from __future__ import annotations

import math

import numpy as np

from exdiff.evaluation.metrics.signals import checked

LIMIT = 100.0  # dB; float32 audio is no more precise, and one exact file would make the mean infinite


def si_sdr(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """SI-SDR, SI-SIR and SI-SAR of `estimate` [T], in dB within +-100.

    `nan` where a ratio is undefined: `clean` or `estimate` is silent, or (SI-SIR) `mixture` holds no noise.

    Args:
        estimate: enhanced signal [T]; its level does not matter.
        clean: reference [T].
        mixture: reference plus noise [T].
        sample_rate: not used; all metrics share one signature.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.

    Example:
        >>> clean, noise = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        >>> si_sdr(clean + 0.1 * noise, clean, clean + noise, 16000)["si_sdr"]
        20.0
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    noise = mixture - clean
    if not clean.any() or not estimate.any():
        return {"si_sdr": math.nan, "si_sir": math.nan, "si_sar": math.nan}
    target = _projection(estimate, clean)
    interference = _projection(estimate, noise) if noise.any() else np.zeros_like(noise)
    return {
        "si_sdr": _decibels(target, estimate - target),
        "si_sir": _decibels(target, interference) if noise.any() else math.nan,
        "si_sar": _decibels(target, estimate - target - interference),
    }


def _projection(signal: np.ndarray, onto: np.ndarray) -> np.ndarray:
    unit = onto / np.linalg.norm(onto)
    return np.dot(signal, unit) * unit


def _decibels(numerator: np.ndarray, denominator: np.ndarray) -> float:
    above, below = float(np.linalg.norm(numerator)), float(np.linalg.norm(denominator))
    if below == 0.0:
        return LIMIT
    if above == 0.0:
        return -LIMIT
    return min(max(20.0 * math.log10(above / below), -LIMIT), LIMIT)
