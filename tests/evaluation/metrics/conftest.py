"""A stand-in for speech: harmonics under syllables and pauses, so that every metric finds an utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

RATE = 16000


@dataclass(frozen=True)
class Signals:
    clean: np.ndarray
    noise: np.ndarray

    @property
    def mixture(self):
        return self.clean + self.noise

    @property
    def estimate(self):
        """Most of the noise is gone, some artefacts have come."""
        rng = np.random.default_rng(7)
        return 0.8 * self.clean + 0.1 * self.noise + 0.002 * rng.normal(size=self.clean.size)


def speech(seconds, rate=RATE, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1) * (np.sin(2 * np.pi * 0.4 * time + 0.3) > -0.7)
    return (0.1 * voice * syllables).astype(np.float32)


@pytest.fixture(scope="session")
def signals():
    clean = speech(2.5)
    noise = 0.03 * np.random.default_rng(1).normal(size=clean.size)
    return Signals(clean, noise.astype(np.float32))
