"""Distances between an estimate and the clean signal, each a mean over the batch, all in float32 under autocast too.

Spectral terms include silent targets. SI-SDR is undefined for them, so there they count as zero. Every distance is thus
a plain mean over the examples: splitting a batch into equal parts, over machines or in time, does not change it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

from exdiff.core.config import check_names
from exdiff.model.nn.precision import full_precision
from exdiff.training.objective.spectra import power, spectra

P = ParamSpec("P")

# Terms of `distance`. `adversary` (training/adversary.py) is the norm of its gradient relative to that of all the
# others, `total` scales their sum.
WEIGHTS = {"complex": 1.0, "squared": 0.0, "magnitude": 1.0, "waveform": 0.0, "si_sdr": 0.03, "resolutions": 0.0}
WEIGHTS |= {"loudness": 0.0, "loudness_symmetric": 0.0, "adversary": 0.3, "total": 1.0}


def with_defaults(weights: Mapping[str, float] | None) -> dict[str, float]:
    """`WEIGHTS` with these changes; ValueError for an unknown name."""
    check_names("weight", weights or (), WEIGHTS)
    return WEIGHTS | dict(weights or {})


def has_terms(weights: Mapping[str, float]) -> bool:
    """Whether `distance` with these weights, those of `WEIGHTS`, depends on the estimate."""
    return any(value for name, value in weights.items() if name not in ("adversary", "total"))


def _in_float32(
    loss: Callable[Concatenate[Tensor, Tensor, P], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """Keep a loss of two tensors, real or complex, out of autocast, and of bfloat16 inputs."""

    @functools.wraps(loss)
    def wrapped(estimate: Tensor, clean: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with full_precision(estimate.device.type):
            estimate, clean = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (estimate, clean))
            return loss(estimate, clean, *args, **kwargs)

    return wrapped


def distance(
    wave: Tensor, spectrum: Tensor, clean: Tensor, target: Tensor, weights: Mapping[str, float], rate: int
) -> Tensor:
    """The weighted sum of the terms below.

    `wave` [B, C, T] and `spectrum`, complex [B, C, F, N], are the estimate, `clean` and `target` what it should be;
    `weights` are those of `WEIGHTS`, `rate` is the waveforms' in Hz.
    """
    terms = {
        "complex": lambda: complex_l1(spectrum, target),
        "squared": lambda: squared_l2(spectrum, target),
        "magnitude": lambda: magnitude_l1(spectrum, target),
        "waveform": lambda: waveform_l1(wave, clean),
        "si_sdr": lambda: negative_si_sdr(wave, clean),
        "resolutions": lambda: multi_resolution(wave, clean),
        "loudness": lambda: loudness_l1(wave, clean, rate),
        "loudness_symmetric": lambda: loudness_l1(wave, clean, rate, excess=1.0),
    }
    parts = [weights[name] * term() for name, term in terms.items() if weights[name]]
    return weights["total"] * sum(parts, start=torch.zeros((), device=wave.device))


@_in_float32
def complex_l1(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean magnitude of the difference of two complex spectrograms [B, C, F, N]."""
    return magnitude(estimate - clean).mean()


@_in_float32
def squared_l2(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean squared magnitude of the difference of two complex spectrograms [B, C, F, N]."""
    return (estimate - clean).abs().square().mean()


@_in_float32
def magnitude_l1(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean difference of the magnitudes, blind to phase: it rewards the right energy where the phase is lost."""
    return (magnitude(estimate) - magnitude(clean)).abs().mean()


def magnitude(spectrum: Tensor) -> Tensor:
    """|X| with a gradient that stays finite at zero."""
    return (power(spectrum) + 1e-8).sqrt()


@_in_float32
def waveform_l1(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean difference of the samples of waveforms [B, C, T]."""
    return (estimate - clean).abs().mean()


@_in_float32
def negative_si_sdr(estimate: Tensor, clean: Tensor, ceiling_db: float = 30.0) -> Tensor:
    """-SI-SDR in dB of waveforms [B, C, T], softly bounded at `ceiling_db` so that easy examples do not dominate.

    A target without energy counts as zero. The sum is divided by the number of all targets, not of the audible ones:
    the mean over a batch would otherwise differ from the mean over its parts.
    """
    energy = clean.square().sum(-1)
    audible = energy > 1e-6 * clean.shape[-1]
    scale = (estimate * clean).sum(-1) / (energy + 1e-8)
    target = scale.square() * energy
    rest = (scale[..., None] * clean - estimate).square().sum(-1)
    bound = 10 ** (-ceiling_db / 10)
    ratio = 10 * torch.log10((target + 1e-8) / (rest + bound * target + 1e-8))
    return -(ratio * audible).mean()


@_in_float32
def multi_resolution(estimate: Tensor, clean: Tensor, sizes: tuple[int, ...] = (256, 512, 1024)) -> Tensor:
    """L1 of the square-rooted STFT magnitudes at several window lengths (samples), waveforms [B, C, T]."""
    total = estimate.new_zeros(())
    for size in sizes:
        a, b = magnitude(_spectra(estimate, clean, size)).sqrt().chunk(2)
        total = total + (a - b).abs().mean()
    return total / len(sizes)


@_in_float32
def loudness_l1(estimate: Tensor, clean: Tensor, rate: int, excess: float = 3.0) -> Tensor:
    """L1 of the specific loudness, the power in each critical band raised to 0.23 (Zwicker), waveforms [B, C, T].

    Every critical band counts alike, while most bins of a spectrogram lie above the voice's formants. Too much loudness
    counts `excess` times as much as too little: residual noise is heard as a separate sound (the asymmetric disturbance
    of ITU-T P.862). Power 50 dB below the mean of the clean signal's bands counts as inaudible.
    """
    pair = _spectra(estimate, clean, 2 * round(0.016 * rate))
    bands = critical_bands(pair.shape[-2], rate, pair.device)
    made, wanted = (bands @ power(pair)).chunk(2)
    floor = 1e-5 * wanted.mean((-1, -2), keepdim=True) + 1e-8
    difference = (made + floor).pow(0.23) - (wanted + floor).pow(0.23)
    return torch.where(difference > 0, excess * difference, -difference).mean()


def _spectra(estimate: Tensor, clean: Tensor, size: int) -> Tensor:
    """STFTs of two waveforms [B, C, T], one after the other: [2 B C, F, N]."""
    return spectra(torch.stack([estimate, clean]).flatten(0, -2), size)


@functools.cache
def critical_bands(bins: int, rate: int, device: torch.device | None = None) -> Tensor:
    """[bands, bins]: triangles one Bark to each side, half a Bark apart (Traunmueller 1990, Eq. (6))."""
    with torch.inference_mode(False):
        frequency = torch.linspace(0, rate / 2, bins).clamp(min=1.0)
        bark = 26.81 / (1 + 1960 / frequency) - 0.53
        centres = torch.arange(0.5, float(bark[-1]), 0.5)
        return (1 - (bark - centres[:, None]).abs()).clamp(min=0).to(device)
