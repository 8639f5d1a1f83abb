"""Small data sets in the layouts that users have."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

RATE = 16000


def signals(index, seconds=0.5, channels=None):
    """Clean and mixture of item `index`, whose level of noise depends on it."""
    rng = np.random.default_rng(index)
    shape = (int(seconds * RATE),) if channels is None else (channels, int(seconds * RATE))
    clean, noise = 0.1 * rng.normal(size=(2, *shape))
    return clean.astype(np.float32), (clean + noise * 10 ** (-index / 4)).astype(np.float32)


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, subtype="FLOAT" if path.suffix == ".wav" else "PCM_16")


@pytest.fixture
def speech(tmp_path):
    """`clean/` and `noisy/` with three files."""
    for index in range(3):
        for folder, samples in zip(("clean", "noisy"), signals(index), strict=True):
            write(tmp_path / "data" / folder / f"{index:03d}_noise_+5dB.wav", samples)
    return tmp_path / "data"


@pytest.fixture
def songs(tmp_path):
    """Two stereo songs, vocals and accompaniment, beside a stray file."""
    for index, name in enumerate(["A [live]", "B - x.y"]):
        for stem, samples in zip(("vocals", "accompaniment"), signals(index, channels=2), strict=True):
            write(tmp_path / "songs" / name / f"{stem}.wav", samples)
    (tmp_path / "songs" / "readme.txt").write_text("no audio")
    return tmp_path / "songs"
