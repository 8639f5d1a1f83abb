"""Distances between an estimate and the clean signal, each a mean over the batch.

Silent targets are kept by the spectral terms and left out of SI-SDR, which is not defined for them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Terms of `distance`; `adversary` (adversary.py) is the norm of its gradient relative to that of all the others,
# `total` scales their sum.
WEIGHTS = {"complex": 1.0, "magnitude": 1.0, "si_sdr": 0.03, "resolutions": 0.0, "adversary": 0.3, "total": 1.0}


def distance(wave: Tensor, spectrum: Tensor, clean: Tensor, target: Tensor, weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of the terms below, of an estimate `wave`, `spectrum` and its goal `clean`, `target`."""
    total = weights["complex"] * complex_l1(spectrum, target)
    total = total + weights["magnitude"] * magnitude_l1(spectrum, target)
    if weights["si_sdr"]:
        total = total + weights["si_sdr"] * negative_si_sdr(wave, clean)
    if weights["resolutions"]:
        total = total + weights["resolutions"] * multi_resolution(wave, clean)
    return weights["total"] * total


def complex_l1(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean magnitude of the difference of two complex spectrograms [B, C, F, N]."""
    return magnitude(estimate - clean).mean()


def magnitude_l1(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean difference of the magnitudes, blind to phase: it rewards the right amount of energy where phase is lost."""
    return (magnitude(estimate) - magnitude(clean)).abs().mean()


def magnitude(spectrum: Tensor) -> Tensor:
    """|X| with a gradient that stays finite at zero."""
    return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt()


def negative_si_sdr(estimate: Tensor, clean: Tensor, ceiling_db: float = 30.0) -> Tensor:
    """-SI-SDR in dB of waveforms [B, C, T], softly bounded at `ceiling_db` so that easy examples do not dominate.

    Zero where no target in the batch has energy.
    """
    energy = clean.square().sum(-1)
    heard = energy > 1e-6 * clean.shape[-1]
    scale = (estimate * clean).sum(-1) / (energy + 1e-8)
    target = scale.square() * energy
    rest = (scale[..., None] * clean - estimate).square().sum(-1)
    bound = 10 ** (-ceiling_db / 10)
    ratio = 10 * torch.log10((target + 1e-8) / (rest + bound * target + 1e-8))
    return -(ratio * heard).sum() / heard.sum().clamp(min=1)


def multi_resolution(estimate: Tensor, clean: Tensor, sizes: tuple[int, ...] = (256, 512, 1024)) -> Tensor:
    """L1 of the square-rooted STFT magnitudes at several window lengths (samples), waveforms [B, C, T]."""
    total = estimate.new_zeros(())
    for size in sizes:
        window = torch.hann_window(size, device=estimate.device)
        pair = torch.stack([estimate, clean]).flatten(0, -2)
        spectra = torch.stft(pair, size, size // 2, window=window, pad_mode="constant", return_complex=True)
        a, b = magnitude(spectra).sqrt().chunk(2)
        total = total + (a - b).abs().mean()
    return total / len(sizes)
