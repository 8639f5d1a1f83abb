"""Synthetic pairs: deterministic, mixed as said, and different from each other."""

from __future__ import annotations

import numpy as np
import pytest

from exdiff.data import Synthetic


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_pairs_are_a_function_of_seed_and_index(sample_rate):
    first, same, other = (Synthetic(segment_seconds=0.3, sample_rate=sample_rate, seed=s) for s in (0, 0, 1))
    for i in (0, 5):
        clean, mixture = first[i]
        assert clean.shape == mixture.shape == (round(0.3 * sample_rate),)
        assert clean.dtype == mixture.dtype == np.float32
        np.testing.assert_array_equal(same[i][1], mixture)
        assert not np.array_equal(other[i][1], mixture)
        assert not np.array_equal(first[i + 1][1], mixture)


def test_the_snr_is_between_minus_5_and_15():
    pairs = [Synthetic(segment_seconds=2.0, sample_rate=8000)[i] for i in range(30)]
    snr = [10 * np.log10(np.mean(c**2) / np.mean((m - c) ** 2)) for c, m in pairs]
    assert min(snr) > -5.1
    assert max(snr) < 15.1
    assert np.ptp(snr) > 10
