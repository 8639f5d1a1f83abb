"""The bundled recordings are what their names and their README say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in (FOLDER / "speech" / "noisy").glob("*.flac"))


def test_every_mixture_has_its_reference_and_its_credit():
    assert len(NAMES) >= 4
    assert sorted(path.stem for path in (FOLDER / "speech" / "clean").glob("*.flac")) == NAMES
    credits = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in credits] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_name_tells_the_signal_to_noise_ratio(name):
    clean, rate = soundfile.read(FOLDER / "speech" / "clean" / f"{name}.flac")
    noisy, noisy_rate = soundfile.read(FOLDER / "speech" / "noisy" / f"{name}.flac")
    assert rate == noisy_rate
    assert clean.shape == noisy.shape
    assert 3 < len(clean) / rate < 8
    found = re.search(r"_(-?\d+)dB$", name)
    assert found is not None
    snr_db = 10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2))
    assert snr_db == pytest.approx(float(found[1]), abs=0.01)


def test_the_recordings_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.flac")) < 1_000_000
