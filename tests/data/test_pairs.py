"""Training on paired folders."""

from __future__ import annotations

import numpy as np
import pytest

from exdiff.core.errors import DataError
from exdiff.data.datasets import Pairs

from .conftest import RATE, tone, write


@pytest.fixture
def pairs(voicebank, tmp_path):
    def make(**options):
        options = {"segment_seconds": 0.6, "sample_rate": RATE, "roots": str(voicebank)} | options
        return Pairs(cache=str(tmp_path / "cache"), **options)

    return make


def test_every_pair_comes_once_in_each_turn_and_stays_aligned(pairs, voicebank):
    data = pairs()
    assert len(data.items) == 3, "without the test set"
    for turn in (0, 7):
        seen = set()
        for i in range(3 * turn, 3 * turn + 3):
            clean, mixture = data[i]
            assert clean.shape == mixture.shape == (9600,)
            assert clean.dtype == np.float32
            noise = mixture - clean
            assert abs(np.corrcoef(clean, noise)[0, 1]) < 0.1, "what is left is the noise, so both are the same stretch"
            assert np.std(noise) == pytest.approx(0.5 * np.std(clean), rel=0.1)
            seen.add(float(np.abs(clean).max()))
        assert len(seen) == 3


def test_an_example_is_a_function_of_seed_and_index(pairs):
    one, two, other = pairs(), pairs(), pairs(seed=1)
    for i in (5, 2, 2**40):
        np.testing.assert_array_equal(one[i][1], two[i][1])
    assert any(not np.array_equal(one[i][0], other[i][0]) for i in range(3))


def test_short_files_lie_in_silence(pairs):
    clean, _ = pairs(segment_seconds=2.0)[0]
    heard = np.flatnonzero(clean)
    assert len(clean) == 32000
    assert heard[-1] - heard[0] < 16000


def test_stereo_and_other_rates(pairs, tmp_path):
    for side in ("clean", "noisy"):
        write(tmp_path / "st" / side / "a.wav", tone(3, 1.0, 8000, channels=2), 8000)
    clean, mixture = pairs(roots=[str(tmp_path / "st")], channels=2)[0]
    assert clean.shape == (2, 9600)
    assert not np.array_equal(clean[0], clean[1])
    np.testing.assert_array_equal(clean, mixture)
    clean, _ = pairs(channels=2)[0]
    np.testing.assert_array_equal(clean[0], clean[1])


def test_what_is_wrong_is_said(pairs, voicebank, hq):
    with pytest.raises(DataError, match="is a song, not a pair"):
        pairs(roots=str(hq))
    with pytest.raises(DataError, match="channels must be 1"):
        pairs(channels=3)
    write(voicebank / "noisy_trainset_28spk_wav" / "p1.wav", tone(0, 0.3))
    with pytest.raises(DataError, match="'p1': clean has 12000 samples at 16000 Hz, noisy 4800"):
        pairs()
