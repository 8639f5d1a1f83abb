"""Distances between an estimate and the clean signal, each a mean over the batch.

Silent targets are kept by the spectral terms and left out of SI-SDR, which is not defined for them: there they count as
zero. Every distance is thus a plain mean over the examples, the mean of the means of a batch's equal parts, whether
these are on several machines or come one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from exdiff.config import check_names

# Terms of `distance`; `adversary` (adversary.py) is the norm of its gradient relative to that of all the others,
# `total` scales their sum.
WEIGHTS = {"complex": 1.0, "squared": 0.0, "magnitude": 1.0, "waveform": 0.0, "si_sdr": 0.03, "resolutions": 0.0}
WEIGHTS |= {"loudness": 0.0, "adversary": 0.3, "total": 1.0}
_EXCESS = 3.0  # of `loudness`


def complete(weights: Mapping[str, float] | None) -> dict[str, float]:
    """`WEIGHTS` with these changes; ValueError for one that is not there."""
    check_names("weight", weights or (), WEIGHTS)
    return WEIGHTS | dict(weights or {})


def distance(
    wave: Tensor, spectrum: Tensor, clean: Tensor, target: Tensor, weights: Mapping[str, float], rate: int
) -> Tensor:
    """The weighted sum of the terms below, of an estimate `wave`, `spectrum` and its goal `clean`, `target`.

    `rate` is that of the waveforms in Hz.
    """
    terms = {
        "complex": lambda: complex_l1(spectrum, target),
        "squared": lambda: (spectrum - target).abs().square().mean(),
        "magnitude": lambda: magnitude_l1(spectrum, target),
        "waveform": lambda: (wave - clean).abs().mean(),
        "si_sdr": lambda: negative_si_sdr(wave, clean),
        "resolutions": lambda: multi_resolution(wave, clean),
        "loudness": lambda: loudness_l1(wave, clean, rate),
    }
    parts = [weights[name] * term() for name, term in terms.items() if weights[name]]
    return weights["total"] * sum(parts, start=wave.new_zeros(()))


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

    A target without energy counts as zero. The sum is divided by all targets and not by those that are heard, whose
    number a part of a batch does not know.
    """
    energy = clean.square().sum(-1)
    heard = energy > 1e-6 * clean.shape[-1]
    scale = (estimate * clean).sum(-1) / (energy + 1e-8)
    target = scale.square() * energy
    rest = (scale[..., None] * clean - estimate).square().sum(-1)
    bound = 10 ** (-ceiling_db / 10)
    ratio = 10 * torch.log10((target + 1e-8) / (rest + bound * target + 1e-8))
    return -(ratio * heard).mean()


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


def loudness_l1(estimate: Tensor, clean: Tensor, rate: int) -> Tensor:
    """L1 of the specific loudness, the power in each critical band raised to 0.23 (Zwicker), waveforms [B, C, T].

    Every band of hearing counts alike, while a spectrogram has most of its bins above the voice's formants. What is too
    loud counts `_EXCESS` times what is missing, since noise that stays is heard as a thing of its own (the asymmetric
    disturbance of ITU-T P.862). Power 50 dB below the mean of the clean signal's bands is not heard.
    """
    size = 2 * round(0.016 * rate)
    window = torch.hann_window(size, device=estimate.device)
    pair = torch.stack([estimate, clean]).flatten(0, -2)
    spectra = torch.stft(pair, size, size // 2, window=window, pad_mode="constant", return_complex=True)
    power = critical_bands(size // 2 + 1, rate).to(estimate.device) @ (spectra.real.square() + spectra.imag.square())
    made, wanted = power.chunk(2)
    floor = 1e-5 * wanted.mean((-1, -2), keepdim=True) + 1e-8
    excess = (made + floor).pow(0.23) - (wanted + floor).pow(0.23)
    return torch.where(excess > 0, _EXCESS * excess, -excess).mean()


@functools.cache
def critical_bands(bins: int, rate: int) -> Tensor:
    """[bands, bins]: triangles one Bark to each side, half a Bark apart (Traunmueller 1990, Eq. (6))."""
    frequency = torch.linspace(0, rate / 2, bins).clamp(min=1.0)
    bark = 26.81 / (1 + 1960 / frequency) - 0.53
    centres = torch.arange(0.5, float(bark[-1]), 0.5)
    return (1 - (bark - centres[:, None]).abs()).clamp(min=0)
