"""Training on songs: their stems as they are, remixed, in mono and stereo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exdiff.core.errors import DataError
from exdiff.data import Songs
from exdiff.data.augment import pan, widen
from exdiff.data.song_mix import SongMix, mix_song

from .conftest import RATE, tone, write

PLAIN = {
    "remix": 0.0,
    "gain_db": (0.0, 0.0),
    "swap_share": 0.0,
    "widen_share": 0.0,
    "spread_share": 0.0,
    "clean_share": 0.0,
    "silent_share": 0.0,
}


@pytest.fixture
def songs(hq, tmp_path):
    def make(**options):
        options = {"segment_seconds": 0.5, "sample_rate": RATE, "roots": [str(hq)]} | options
        return Songs(cache=str(tmp_path / "cache"), **options)

    return make


def likeness(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def stretch_of(part, whole):
    """Best correlation of `part` [C, T] with any stretch of `whole`."""
    size = 1 << (whole.shape[-1] - 1).bit_length()
    found = np.fft.irfft(np.fft.rfft(whole[0], 2 * size) * np.conj(np.fft.rfft(part[0], 2 * size)))
    at = int(found[: whole.shape[-1] - part.shape[-1] + 1].argmax())
    return likeness(part, whole[:, at : at + part.shape[-1]])


def test_without_a_remix_the_stems_are_those_of_one_song(songs):
    data = songs(mix=PLAIN)
    hits = set()
    for i in range(6):
        vocals, mixture = data[i]
        assert vocals.shape == mixture.shape == (2, 8000)
        for n in range(2):
            rest = sum(tone(10 * n + k, channels=2) for k in (1, 2, 3))
            if stretch_of(vocals, tone(10 * n, channels=2)) > 0.99:
                assert stretch_of(mixture - vocals, rest) > 0.99
                hits.add(n)
    assert hits == {0, 1}, "both songs of the training set, not that of the test set"


def test_a_remix_takes_other_songs(songs):
    data = songs(mix={**PLAIN, "remix": 1.0})
    own = []
    for i in range(8):
        vocals, mixture = data[i]
        n = int(stretch_of(vocals, tone(10, channels=2)) > 0.99)
        own.append(stretch_of(mixture - vocals, sum(tone(10 * n + k, channels=2) for k in (1, 2, 3))) > 0.9)
    assert not all(own)


def test_an_example_is_a_function_of_seed_and_index(songs):
    one, two = songs(), songs()
    for i in (4, 1, 2**40):
        for a, b in zip(one[i], two[i], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.float32
            assert a.flags["C_CONTIGUOUS"]
    assert not np.array_equal(songs(seed=1)[4][1], one[4][1])


def test_shares_of_silent_and_of_vocals_alone(songs):
    silent = [songs(mix={"silent_share": 1.0, "clean_share": 0.0})[i] for i in range(4)]
    assert not any(vocals.any() for vocals, _ in silent)
    assert all(mixture.any() for _, mixture in silent)
    for i in range(4):
        vocals, mixture = songs(mix={"clean_share": 1.0})[i]
        np.testing.assert_array_equal(vocals, mixture)


def test_mono_examples_and_levels(songs):
    data = songs(channels=1, mix={"level_db": (-20.0, -20.0)})
    for i in range(4):
        vocals, mixture = data[i]
        assert vocals.shape == mixture.shape == (8000,)
        assert 20 * np.log10(np.sqrt(np.mean(mixture**2))) == pytest.approx(-20, abs=0.1)


def test_stem_files_are_read_like_folders(songs, musdb):
    vocals, mixture = songs(roots=[str(musdb)], sample_rate=44100, mix=PLAIN)[0]
    assert stretch_of(vocals, tone(3, 1.0, 44100, 2)) > 0.8, "AAC"
    assert stretch_of(mixture - vocals, sum(tone(k, 1.0, 44100, 2) for k in range(3))) > 0.8


def test_a_manifest_and_folders(songs, tmp_path):
    for kind in ("vocals", "accompaniment"):
        for n in (1, 2):
            write(tmp_path / "m" / kind / f"{n}.wav", tone(n + (kind == "vocals"), 1.0))
    write(tmp_path / "music" / "x.wav", tone(9, 2.0))
    lines = [f"{k}/{n}.wav,songs_x_{k},{n},C" for k in ("vocals", "accompaniment") for n in (1, 2)]
    (tmp_path / "m" / "manifest.csv").write_text("\n".join(["file,kind,pair,tier", *lines, "vocals/1.wav,vocals,,A"]))
    options = {"roots": (), "manifest": str(tmp_path / "m" / "manifest.csv"), "channels": 1}
    data = songs(tiers=["A", "C"], folders={"music": [str(tmp_path / "music")]}, **options)
    assert (len(data.singing), len(data.playing)) == (3, 3)
    data = songs(tiers=["A", "C"], leave_out=["songs_x/2"], **options)
    assert (len(data.singing), len(data.playing)) == (2, 1)
    with pytest.raises(DataError, match="songs need vocals and something to mix"):
        songs(tiers=["A"], **options)
    with pytest.raises(DataError, match="got the kind 'speech'"):
        songs(folders={"speech": [str(tmp_path / "music")]})


def test_a_source_can_be_drawn_more_often(songs, tmp_path):
    for n in (1, 2):
        for kind in ("vocals", "accompaniment"):
            write(tmp_path / kind / f"{n}.wav", tone(n + 5 * (kind == "vocals"), 1.0))
    lines = [f"{k}/{n}.wav,songs_x_{k},{n},C,s{n}" for k in ("vocals", "accompaniment") for n in (1, 2)]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,kind,pair,tier,source", *lines]))
    options = {"roots": (), "manifest": str(tmp_path / "manifest.csv"), "tiers": ["C"], "mix": PLAIN, "channels": 1}
    data = songs(source_weights={"s1": 0.0}, **options)
    for i in range(4):
        assert stretch_of(data[i][0][None], tone(7, 1.0)) > 0.99, "of the second song, whatever the draw"
    with pytest.raises(DataError, match="leave no vocals"):
        songs(source_weights={"s1": 0.0, "s2": 0.0}, **options)


def test_parts_of_unequal_length_are_refused(songs, hq):
    write(hq / "train" / "A - One" / "drums.wav", tone(1, 0.7, channels=2))
    with pytest.raises(DataError, match="differ in length"):
        songs()


def test_pauses_in_the_vocals_are_avoided(songs, hq):
    for name in ("A - One", "B - Two"):
        vocals = tone(0, 3.0, channels=2)
        vocals[:, : 2 * RATE] = 0
        write(hq / "train" / name / "vocals.wav", vocals)
        for stem in ("drums", "bass", "other"):
            write(hq / "train" / name / f"{stem}.wav", tone(1, 3.0, channels=2))
    data = songs(mix={"silent_share": 0.0})
    assert sum(bool(data[i][0].any()) for i in range(20)) >= 19


def test_a_mono_stem_finds_its_place_between_the_loudspeakers():
    mono = tone(0)[0]
    for left, position in ((1, -1.0), (0, 1.0)):
        stereo = pan(mono, position)
        assert (np.abs(stereo).max(axis=1) < 1e-6).tolist() == [left == 0, left == 1]
    np.testing.assert_allclose(pan(mono, 0.0), [mono, mono], rtol=1e-5)
    wide = widen(mono, np.random.default_rng(0), RATE)
    np.testing.assert_allclose(wide.mean(axis=0), mono, atol=1e-6)
    assert likeness(wide[0], wide[1]) < 0.95
    vocals, mixture = mix_song(
        tone(0), [tone(1)], SongMix(widen_share=1.0), np.random.default_rng(0), channels=2, sample_rate=RATE
    )
    assert vocals.shape == mixture.shape == (2, RATE)
    assert not np.array_equal(mixture[0], mixture[1])


def test_mono_vocals_are_spread_and_the_rest_of_the_example_stays():
    stems, rng = (tone(0), [tone(1)]), np.random.default_rng
    still = SongMix(**(PLAIN | {"widen_share": 0.0, "level_db": (-20.0, -20.0)}))
    spread_out = replace(still, spread_share=1.0)
    (near, first), (far, second) = (
        mix_song(*stems, mix, rng(0), channels=2, sample_rate=RATE) for mix in (still, spread_out)
    )
    np.testing.assert_array_equal(near[0], near[1])
    assert 0.3 < likeness(far[0], far[1]) < 0.999
    assert likeness(first - near, second - far) > 0.9999, "the accompaniment, but for the level"
    mono = [mix_song(*stems, mix, rng(0), channels=1, sample_rate=RATE)[0] for mix in (still, spread_out)]
    np.testing.assert_array_equal(*mono)


def test_stems_may_be_equalised_each_by_itself():
    mixes = SongMix(**PLAIN), SongMix(**(PLAIN | {"equalise_db": 6.0}))
    noise = np.random.default_rng(1).normal(size=(2, 4096)).astype(np.float32)
    plain, other = (
        mix_song(noise, [noise], mix, np.random.default_rng(0), channels=2, sample_rate=RATE) for mix in mixes
    )
    assert likeness(*plain) > 0.999999, "the same noise twice"
    assert likeness(*other) < 0.999, "no longer the same"


def test_speed_is_that_of_a_whole_song(songs, tmp_path):
    for kind, pitch in (("vocals", 440), ("accompaniment", 880)):
        wave = np.sin(2 * np.pi * pitch * np.arange(2 * RATE) / RATE)[None].astype(np.float32)
        write(tmp_path / kind / "1.wav", 0.1 * wave)
    lines = [f"{kind}/1.wav,songs_x_{kind},1,C" for kind in ("vocals", "accompaniment")]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,kind,pair,tier", *lines]))
    options = {"roots": (), "manifest": str(tmp_path / "manifest.csv"), "tiers": ["C"], "channels": 1}
    data = songs(mix={**PLAIN, "speed": (1.1, 1.1)}, **options)
    for signal, pitch in zip((data[0][0], data[0][1] - data[0][0]), (484, 968), strict=True):
        assert np.abs(np.fft.rfft(signal)).argmax() * RATE / len(signal) == pytest.approx(pitch, abs=2)


def test_two_pauses_still_make_a_mixture():
    nothing = np.zeros((2, 100), np.float32)
    vocals, mixture = mix_song(nothing, [nothing], SongMix(), np.random.default_rng(0), channels=2, sample_rate=RATE)
    assert not vocals.any()
    assert mixture.any()
