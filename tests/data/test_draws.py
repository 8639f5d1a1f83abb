"""Choices: exactly numpy's own, at a cost that does not grow; and ranges that make sense."""

from __future__ import annotations

import numpy as np
import pytest

from exdiff.core.config import from_table
from exdiff.core.errors import ConfigError
from exdiff.data.draws import WeightedChoice, pick
from exdiff.data.mixer import Mix
from exdiff.data.song_mix import SongMix


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_choices_are_those_of_numpy(seed, count):
    weights = np.random.default_rng(seed).uniform(0, 5, count) + (np.arange(count) == 0)
    ours, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
    choose, items = WeightedChoice(weights), [f"item {n}" for n in range(count)]
    for _ in range(200):
        assert choose(ours) == numpys.choice(count, p=weights / weights.sum())
        assert pick(ours, items) == numpys.choice(items)
    assert ours.random() == numpys.random(), "as many numbers are drawn"


def test_weights_are_kept_to():
    rng, choose = np.random.default_rng(0), WeightedChoice([1, 0, 3, 0])
    shares = np.bincount([choose(rng) for _ in range(4000)], minlength=4) / 4000
    assert shares == pytest.approx([0.25, 0, 0.75, 0], abs=0.03)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_leave_nothing_to_draw_are_refused(weights):
    with pytest.raises(ValueError, match="must be finite, not negative, and not all zero"):
        WeightedChoice(weights)


@pytest.mark.parametrize("cls", [Mix, SongMix])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "must be a list of 2 numbers, got 5"),
        ([1], r"must be a list of 2 numbers, got \[1\]"),
        ([1, 2, 3], r"must be a list of 2 numbers, got \[1, 2, 3\]"),
        (["low", 3], r"must be a list of 2 numbers, got \['low', 3\]"),
        (None, "must be a list of 2 numbers, got None"),
        ([18, -6], r"must be \[low, high\], got \[18, -6\]"),
        ([-6, float("inf")], r"must be \[low, high\], got \[-6, inf\]"),
    ],
)
def test_ranges_of_both_mixes_are_checked(cls, value, message):
    for key in ("snr_db", "level_db"):
        with pytest.raises(ConfigError, match=f"mix: {key} {message}"):
            from_table(cls, {key: value}, "mix")


@pytest.mark.parametrize(
    ("cls", "table", "message"),
    [
        (Mix, {"noise": "much"}, "noise must be a number, got 'much'"),
        (Mix, {"music": -0.1}, "music must be at least 0, got -0.1"),
        (Mix, {"clean_share": 1.01}, "clean_share must be at most 1, got 1.01"),
        (Mix, {"room_share": True}, "room_share must be a number, got True"),
        (Mix, {"babble_speakers": [0, 3]}, r"babble_speakers must be at least 1, got \[0, 3\]"),
        (Mix, {"babble_speakers": [1.5, 3]}, "babble_speakers must be a list of 2 numbers"),
        (Mix, {"babble_speakers": [5, 2]}, r"babble_speakers must be \[low, high\], got \[5, 2\]"),
        (SongMix, {"speed": [0, 1]}, r"speed must be more than 0, got \[0, 1\]"),
        (SongMix, {"speed": [1.1, 0.9]}, r"speed must be \[low, high\], got \[1.1, 0.9\]"),
        (SongMix, {"remix": 2}, "remix must be at most 1, got 2"),
        (SongMix, {"equalise_db": -3}, "equalise_db must be at least 0, got -3"),
        (SongMix, {"gain_db": "loud"}, "gain_db must be a list of 2 numbers"),
    ],
)
def test_values_of_mixes_are_checked(cls, table, message):
    with pytest.raises(ConfigError, match=f"mix: {message}"):
        from_table(cls, table, "mix")


def test_good_values_are_taken():
    assert from_table(Mix, {"snr_db": [3, 3]}, "mix").snr_db == (3, 3)
    assert SongMix(speed=(0.9, 1.1)).speed == (0.9, 1.1)
    with pytest.raises(ValueError, match="gain_db must be"):
        SongMix(gain_db=(1.0, -1.0))
