"""Endless synthetic pairs, vowel-like harmonic tones in coloured noise, for debugging without data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exdiff.data.batched import send
from exdiff.data.decoding import rms


class Synthetic:
    """`synthetic[i]` -> (clean, mixture) float32, [T] or, with two channels, [2, T]; a function of (seed, i) alone.

    The tones are in the middle of the stereo image, the noise is delayed between channels.

    Example:
        >>> clean, mixture = Synthetic(segment_seconds=0.5, sample_rate=16000)[0]
        >>> clean.shape, bool((clean != mixture).any())
        ((8000,), True)
    """

    def __init__(self, *, segment_seconds: float, sample_rate: int, seed: int = 0, channels: int = 1) -> None:
        self.length, self.sample_rate, self.seed = round(segment_seconds * sample_rate), sample_rate, seed
        self.channels = channels

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, index))
        time = np.arange(self.length) / self.sample_rate
        pitch = rng.uniform(90, 280) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / self.sample_rate
        harmonics = np.arange(1, 1 + int(0.45 * self.sample_rate / 300))
        amplitude = rng.uniform(0.2, 1, len(harmonics)) / harmonics
        syllables = np.clip(np.sin(2 * np.pi * rng.uniform(1, 4) * time + rng.uniform(0, 6)) * 2, 0, 1)
        clean = (amplitude[:, None] * np.sin(harmonics[:, None] * phase)).sum(0) * syllables
        noise = _coloured(rng.normal(size=self.length).astype(np.float32), rng, self.sample_rate)
        clean = clean * 0.05 / rms(clean)
        noise = noise * 0.05 / rms(noise) * 10 ** (-rng.uniform(-5, 15) / 20)
        if self.channels > 1:
            clean = np.tile(clean, (self.channels, 1))
            noise = np.stack([np.roll(noise, n * self.length // 3) for n in range(self.channels)])
        return clean.astype(np.float32), (clean + noise).astype(np.float32)

    def on(self, device: torch.device) -> SyntheticBatches:
        """Batches on a device, made on the host."""
        return SyntheticBatches(self, device)


def _coloured(noise: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A smooth random gain over frequency, of up to 12 dB."""
    spectrum = np.fft.rfft(noise)
    frequency = np.linspace(0, sample_rate / 2, spectrum.shape[-1])
    knots = np.geomspace(60, sample_rate / 2, 6)
    gain_db = np.interp(np.log(np.maximum(frequency, 30)), np.log(knots), rng.uniform(-12, 12, 6))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(noise)).astype(np.float32)


@dataclass(frozen=True)
class SyntheticBatches:
    """Examples of `source`, stacked.

    Example:
        >>> source = Synthetic(segment_seconds=0.5, sample_rate=16000)
        >>> clean, mixture = source.on(torch.device("cpu")).batch([0, 1])
        >>> clean.shape
        torch.Size([2, 1, 8000])
    """

    source: Synthetic
    device: torch.device

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(clean, mixture), both float32 [B, C, T]."""
        pairs = torch.from_numpy(np.stack([np.stack(self.source[i]) for i in indices], axis=1))  # [2, B, T or C, T]
        clean, mixture = send(pairs.reshape(2, len(indices), self.source.channels, -1), self.device)
        return clean, mixture
