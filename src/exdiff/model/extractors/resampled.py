"""Extractors with a sample rate of their own: waveforms are resampled, latents are cut to the model's band."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.model.extractors.base import Extraction, Extractor
from exdiff.model.nn.precision import full_precision


class Resampler(nn.Module):
    """Differentiable sample rate conversion by a windowed sinc; float32 under autocast too. Sample 0 stays at time 0.

    With both rates divided by their greatest common divisor, every `old` input samples span `new` output samples, at
    the same offsets each time: so output k * new + p is sample k of a convolution of stride `old` with filter p.

    Args:
        source_rate, target_rate: Hz.
        zeros: zero crossings of the sinc on each side; more are sharper.
        rolloff: the cut-off, relative to the lower of the two Nyquist frequencies.

    Example:
        >>> Resampler(48000, 16000)(torch.zeros(2, 481)).shape
        torch.Size([2, 161])
    """

    def __init__(self, source_rate: int, target_rate: int, zeros: int = 32, rolloff: float = 0.945) -> None:
        super().__init__()
        common = math.gcd(source_rate, target_rate)
        self.old, self.new = source_rate // common, target_rate // common
        cutoff = rolloff * min(self.old, self.new)  # twice the frequency, in cycles per `old` input samples
        self.reach = math.ceil(zeros * self.old / cutoff)
        taps = torch.arange(-self.reach, self.reach + self.old, dtype=torch.float64) / self.old
        phase = torch.arange(self.new, dtype=torch.float64)[:, None] / self.new
        distance = (cutoff * (phase - taps)).clamp(-zeros, zeros)  # in zero crossings
        kernel = torch.sinc(distance) * torch.cos(math.pi / 2 * distance / zeros) ** 2
        kernel = kernel / kernel.sum(1, keepdim=True)  # a constant stays one
        self.register_buffer("kernel", kernel[:, None].float(), persistent=False)
        self.kernel: Tensor

    def forward(self, wave: Tensor) -> Tensor:
        """[B, T] -> float32 [B, ceil(T * target / source)]."""
        wave = wave.float()
        if self.old == self.new:
            return wave
        length = -(-wave.shape[-1] * self.new // self.old)
        padded = functional.pad(wave, (self.reach, self.reach + self.old))
        with full_precision(wave.device.type):
            phases = functional.conv1d(padded[:, None], self.kernel, stride=self.old)
        return phases.transpose(1, 2).reshape(wave.shape[0], -1)[:, :length]


class ResampledExtractor(Extractor):
    """Base of the extractors with a sample rate of their own; a subclass defines `extract`.

    Args:
        sample_rate: Hz, of the model.
        rate: Hz, of the extractor.
        hop: samples between the extractor's frames at its own rate, 1 if unknown.
        linear: the frequency axes of the latents run from 0 to rate / 2 in equal steps. They are then cut to the
            model's band, or filled with zeros above the extractor's.

    Raises:
        ValueError: a rate or hop below 1.
    """

    def __init__(self, sample_rate: int, rate: int, hop: int = 1, linear: bool = True) -> None:
        super().__init__()
        if rate < 1 or hop < 1:
            raise ValueError(f"rate and hop must be positive, got {rate} and {hop}")
        self.sample_rate, self.rate, self.hop, self.linear = sample_rate, rate, hop, linear
        self.inward, self.outward = Resampler(sample_rate, rate), Resampler(rate, sample_rate)

    @property
    def alignment(self) -> int:
        # The fewest samples at the model's rate that are a whole number of hops at the extractor's.
        new, old = self.inward.new, self.inward.old
        return old * self.hop // math.gcd(self.hop, new)

    def forward(self, mixture: Tensor) -> Extraction:
        batch, channels, length = mixture.shape
        wave = self.inward(mixture.reshape(batch * channels, length))
        estimate, latents = self.extract(wave)
        estimate = _fit(self.outward(_fit(estimate, wave.shape[-1])), length)
        if self.linear:
            latents = [_in_band(m, self.sample_rate / self.rate) for m in latents]
        return Extraction(estimate.reshape(batch, channels, length), tuple(latents))

    @abstractmethod
    def extract(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Waveform [B, T] at `rate` -> estimate [B, about T], latents [B, D_i, F_i, N_i]."""


def _fit(wave: Tensor, length: int) -> Tensor:
    return functional.pad(wave, (0, length - wave.shape[-1]))  # a negative padding cuts


def _in_band(latent: Tensor, share: float) -> Tensor:
    bins = int(latent.shape[2])
    if bins == 1:  # no frequency axis
        return latent
    return functional.pad(latent, (0, 0, 0, max(1, round(bins * share)) - bins))
