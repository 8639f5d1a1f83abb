"""Endless synthetic pairs, vowel-like harmonic tones in coloured noise, for debugging without data."""

from __future__ import annotations

import numpy as np

from exdiff.data.augment import equalise, rms


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
        noise = equalise(rng.normal(size=self.length).astype(np.float32), rng, self.sample_rate, range_db=12)
        clean = clean * 0.05 / rms(clean)
        noise = noise * 0.05 / rms(noise) * 10 ** (-rng.uniform(-5, 15) / 20)
        if self.channels > 1:
            clean = np.tile(clean, (self.channels, 1))
            noise = np.stack([np.roll(noise, n * self.length // 3) for n in range(self.channels)])
        return clean.astype(np.float32), (clean + noise).astype(np.float32)
