"""Augmentations against what they are in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from exdiff.data.augment import band_limit, clip_peaks, convolve, equalise, rms, room

RATE = 8000


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=length).astype(np.float32)


def test_rms_is_never_zero():
    assert rms(np.full(10, 3.0)) == pytest.approx(3)
    assert rms(np.zeros(10)) == pytest.approx(1e-6)


@pytest.mark.parametrize(("length", "kernel"), [(1, 1), (5, 9), (100, 33), (64, 64)])
def test_convolve_is_numpys_cut_to_length(length, kernel):
    x, k = noise(length), noise(kernel, 1)
    np.testing.assert_allclose(convolve(x, k), np.convolve(x, k)[:length], atol=1e-4)


def test_a_room_of_one_impulse_changes_nothing():
    x, impulse = noise(1000), np.zeros(500, np.float32)
    impulse[120] = -0.3
    for heard in room(x, impulse, RATE):
        np.testing.assert_allclose(np.abs(heard), np.abs(x), atol=1e-4)


def test_the_target_keeps_early_reflections_and_loses_late_ones():
    x, impulse = np.zeros(4000, np.float32), np.zeros(3000, np.float32)
    x[0] = 1
    impulse[[50, 50 + 80, 50 + 2000]] = 1.0, 0.5, 0.25  # 10 ms and 250 ms after the direct sound
    heard, target = room(x, impulse, RATE)
    assert [round(float(heard[i]), 3) for i in (0, 80, 2000)] == [1.0, 0.5, 0.25]
    assert [round(float(target[i]), 3) for i in (0, 80, 2000)] == [1.0, 0.5, 0.0]


def test_equalise_stays_in_its_range_and_is_linear():
    x, y = noise(2048), noise(2048, 1)

    def curve(signal):
        return equalise(signal, np.random.default_rng(3), RATE, range_db=6)

    gain_db = 20 * np.log10(np.abs(np.fft.rfft(curve(x))[1:-1]) / np.abs(np.fft.rfft(x)[1:-1]))
    assert np.abs(gain_db).max() < 6.1
    assert np.ptp(gain_db) > 1
    np.testing.assert_allclose(curve(x) + curve(y), curve(x + y), atol=1e-4)
    assert curve(x).dtype == np.float32


def test_band_limit_removes_what_is_above():
    spectrum = np.abs(np.fft.rfft(band_limit(noise(8000), 1000, RATE))) / np.abs(np.fft.rfft(noise(8000)))
    np.testing.assert_allclose(spectrum[:1000], 1, atol=1e-2)
    assert spectrum[1110:].max() < 1e-2


def test_clip_peaks_by_hand():
    assert clip_peaks(np.array([0.1, -1.0, 0.6]), 0.5).tolist() == [0.1, -0.5, 0.5]
    assert not clip_peaks(np.zeros(3), 0.5).any()
