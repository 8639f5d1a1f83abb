"""Draws: functions of seed and index, choices that keep to their weights, and ranges that make sense."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from exdiff.core.config import from_table
from exdiff.core.errors import ConfigError, DataError
from exdiff.data.draws import Choice, Draws, Groups, Part, Stream, between, choice, gain, whole
from exdiff.data.mixing.mix import Mix
from exdiff.data.mixing.song_mix import SongMix


def test_the_numbers_of_an_example_do_not_depend_on_its_batch():
    many, one = Draws(3, [5, 2**40, 7], string=9), Draws(3, [7], string=20)
    some = many.of(np.array([0, 2]))
    for part in Part:
        if part is not Part.STRING:
            np.testing.assert_array_equal(many.part(part)[2], one.part(part)[0])
            np.testing.assert_array_equal(some.part(part)[1], one.part(part)[0])
    np.testing.assert_array_equal(many.part(Part.STRING)[2], one.part(Part.STRING)[0, :9])
    np.testing.assert_array_equal(some.table(Stream.BABBLE, 4)[1], one.table(Stream.BABBLE, 6)[0, :4])
    assert many.keys(Stream.TAIL)[2] == some.keys(Stream.TAIL)[1] == one.keys(Stream.TAIL)[0]


def test_seeds_indices_and_parts_give_other_numbers():
    draws, other = Draws(0, range(200)), Draws(1, range(200))
    tables = [draws.part(Part.EXAMPLE), draws.part(Part.CROPS)[:, :8], other.part(Part.EXAMPLE)]
    tables += [draws.table(Stream.BABBLE, 8), draws.part(Part.EXAMPLE)[::-1]]
    for i, a in enumerate(tables):
        for b in tables[:i]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


def test_parts_do_not_overlap():
    places = sorted(part.value for part in Part if part is not Part.STRING)
    assert places[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(places))
    assert places[-1][1] <= Part.STRING.value[0]


def test_weights_are_kept_to():
    numbers = Draws(0, range(4000)).part(Part.EXAMPLE)[:, 0]
    shares = np.bincount(Choice([1, 0, 3, 0])(numbers), minlength=4) / 4000
    assert shares == pytest.approx([0.25, 0, 0.75, 0], abs=0.03)
    assert Choice([0, 0, 5])(np.array([0.0, 1 - 2**-53])).tolist() == [2, 2]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_leave_nothing_to_draw_are_refused(weights):
    with pytest.raises(ValueError, match="must be finite, not negative, and not all zero"):
        Choice(weights)
    with pytest.raises(DataError, match=r"there is nothing \(weights must be finite"):
        choice(weights, "there is nothing")


def test_groups_draw_all_of_their_members_equally_often():
    groups = Groups([[4], [7, 8, 9]])
    numbers = np.linspace(0, 1, 300, endpoint=False)
    assert set(groups(np.zeros(300, int), numbers)) == {4}
    found, counts = np.unique(groups(np.ones(300, int), numbers), return_counts=True)
    assert (found.tolist(), counts.tolist()) == ([7, 8, 9], [100] * 3)


def test_numbers_become_values():
    numbers = np.array([0.0, 0.5, 1 - 2**-53])
    assert whole(numbers, 3).tolist() == [0, 1, 2]
    assert between(numbers, (-6.0, 18.0)).tolist() == [-6, 6, pytest.approx(18)]
    assert gain(np.array([0.0, 20.0])).tolist() == [1, 10]


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
        (Mix, {"made_noise": -1}, "made_noise must be at least 0, got -1"),
        (Mix, {"speed": [0, 1]}, r"speed must be more than 0, got \[0, 1\]"),
        (Mix, {"speed": [1.1, 0.9]}, r"speed must be \[low, high\], got \[1.1, 0.9\]"),
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


@pytest.mark.parametrize("cls", [Mix, SongMix])
def test_shares_are_between_0_and_1(cls):
    shares = [name for name in cls.__dataclass_fields__ if name.endswith("share")]
    assert len(shares) >= 5
    for name in shares:
        with pytest.raises(ConfigError, match=f"mix: {name} must be at least 0, got -0.1"):
            from_table(cls, {name: -0.1}, "mix")
        with pytest.raises(ConfigError, match=f"mix: {name} must be at most 1, got 1.1"):
            from_table(cls, {name: 1.1}, "mix")


def test_good_values_are_taken():
    assert from_table(Mix, {"snr_db": [3, 3]}, "mix").snr_db == (3, 3)
    assert SongMix(speed=(0.9, 1.1)).speed == (0.9, 1.1)
    with pytest.raises(ValueError, match="gain_db must be"):
        SongMix(gain_db=(1.0, -1.0))
