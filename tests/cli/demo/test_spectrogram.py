"""Spectrograms that are made while a sound streams by."""

import numpy as np
import pytest

from exdiff.cli.demo import spectrogram
from exdiff.cli.demo.spectrogram import Spectrograms


def of(before, after, rate, pieces):
    spectrograms = Spectrograms(rate, len(before))
    for piece in np.array_split(np.arange(len(before)), pieces):
        spectrograms.add(before[piece], after[piece])
    return spectrograms.finish()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_pieces_make_no_difference(rate):
    rng = np.random.default_rng(0)
    before, after = rng.uniform(-1, 1, (2, rate)).astype(np.float32)
    whole = of(before, after, rate, 1)
    assert whole.shape == (3, 160, 100)
    for pieces in (3, 50, 700):
        np.testing.assert_allclose(of(before, after, rate, pieces), whole, rtol=1e-4)


def test_a_click_is_where_it_is():
    clicks = np.zeros(16000, np.float32)
    clicks[[4000, 12000]] = 1
    loudness = of(clicks, clicks, 16000, 5)[0].sum(0)
    assert set(np.argsort(loudness)[-2:]) == {25, 75}


def test_white_noise_has_the_same_mean_in_every_row():
    noise = np.random.default_rng(0).standard_normal(16000 * 20).astype(np.float32)
    rows = of(noise, noise, 16000, 20)[0].mean(1)
    assert np.abs(10 * np.log10(rows[2:] / rows.mean())).max() < 2


def test_columns_that_do_not_fit_are_averaged(monkeypatch):
    rng = np.random.default_rng(0)
    before = rng.uniform(-1, 1, 16000).astype(np.float32)
    fine = of(before, before / 2, 16000, 4)
    monkeypatch.setattr(spectrogram, "MOST_COLUMNS", 30)
    coarse = of(before, before / 2, 16000, 4)
    assert coarse.shape == (3, 160, 25)
    np.testing.assert_allclose(coarse, fine.reshape(3, 160, 25, 4).mean(-1), rtol=1e-4)
    np.testing.assert_allclose(coarse[1] * 4, coarse[0], rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 100, 159, 161])
def test_short_sounds(frames):
    power = of(np.ones(frames, np.float32), np.ones(frames, np.float32), 16000, 1)
    assert power.shape[2] == -(-frames // 160) and np.isfinite(power).all()
