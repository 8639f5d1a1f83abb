"""Synthetic pairs: deterministic, mixed as said, and different from each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.data.datasets import Synthetic


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


def test_two_channels_share_the_tones_and_not_the_noise():
    mono, stereo = (Synthetic(segment_seconds=0.5, sample_rate=8000, channels=n)[3] for n in (1, 2))
    assert stereo[0].shape == stereo[1].shape == (2, 4000)
    for side in range(2):
        np.testing.assert_array_equal(stereo[0][side], mono[0])
    np.testing.assert_array_equal(stereo[1][0], mono[1])
    left, right = stereo[1] - stereo[0]
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.2


@pytest.mark.parametrize("channels", [1, 2])
def test_a_batch_holds_the_examples(channels):
    source = Synthetic(segment_seconds=0.1, sample_rate=8000, channels=channels)
    clean, mixture = source.on(torch.device("cpu")).batch([3, 7])
    assert clean.shape == mixture.shape == (2, channels, 800)
    for row, index in enumerate((3, 7)):
        for made, wanted in zip((clean, mixture), source[index], strict=True):
            np.testing.assert_array_equal(made[row].numpy(), np.reshape(wanted, (channels, -1)))
