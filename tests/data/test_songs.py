"""Training on songs: their stems as they are, remixed, in mono and stereo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from exdiff.core.errors import DataError
from exdiff.data.bank import DeviceBank, MappedBank
from exdiff.data.datasets import Songs
from exdiff.data.draws import Draws
from exdiff.data.mixing.song_mix import SongMix, SongMixer, Stems

from .conftest import RATE, NoReadBack, tone, write

CPU = torch.device("cpu")

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


def mixed(vocals, rest, mix, channels=2, indices=(0,)):
    """(vocals, mixture) [B, C, T] of the same stems [C, T] in every example."""
    stems = [
        Stems(
            torch.stack([torch.from_numpy(p).expand(max(map(len, parts)), -1) for p in parts] * len(indices)),
            np.array([len(p) == 2 for p in parts] * len(indices)),
        )
        for parts in ([vocals], rest)
    ]
    mixer = SongMixer(mix, channels=channels, length=vocals.shape[-1], sample_rate=RATE, device=CPU)
    return tuple(signal.numpy() for signal in mixer(Draws(0, indices), *stems))


def test_mono_vocals_stand_anywhere_between_the_loudspeakers():
    mix = SongMix(**(PLAIN | {"widen_share": 0.5}))
    vocals, _ = mixed(tone(0), [tone(1)], mix, indices=range(200))
    assert min(abs(likeness(*voice)) for voice in vocals) > 0.9999, "at one place"
    left, right = vocals.std(-1).T
    angle = np.degrees(np.arctan2(left, right)) - 45
    assert np.mean(np.abs(angle) < 0.01) == pytest.approx(0.5, abs=0.12), "in the middle"
    assert angle.min() == pytest.approx(-27, abs=2)
    assert angle.max() == pytest.approx(27, abs=2)


def test_mono_music_is_widened_around_its_middle():
    mix = SongMix(**(PLAIN | {"widen_share": 1.0}))
    plain, wide = (mixed(tone(0), [tone(1)], m) for m in (SongMix(**PLAIN), mix))
    near, far = plain[1][0] - plain[0][0], wide[1][0] - wide[0][0]
    assert likeness(near[0], near[1]) > 0.9999
    assert likeness(far[0], far[1]) < 0.95
    assert likeness(far.mean(0), near[0]) > 0.9999, "the mean stays"


def test_channels_of_stereo_stems_are_swapped():
    one, two = tone(0, channels=2), tone(1, channels=2)
    for share in (0.0, 1.0):
        vocals, mixture = mixed(one, [two], SongMix(**(PLAIN | {"swap_share": share})))
        order = -1 if share else 1
        assert likeness(vocals[0], one[::order]) > 0.9999
        assert likeness(mixture[0] - vocals[0], two[::order]) > 0.9999
    vocals, _ = mixed(one, [two], SongMix(**(PLAIN | {"swap_share": 0.5})), indices=range(200))
    assert np.mean([likeness(v, one) > 0.99 for v in vocals]) == pytest.approx(0.5, abs=0.12)


def test_gains_are_drawn_for_each_stem():
    vocals, mixture = mixed(
        tone(0), [tone(1)], SongMix(**(PLAIN | {"gain_db": (-4.0, 4.0)})), channels=1, indices=range(300)
    )
    ratio = 20 * np.log10(np.std(vocals, axis=-1) / np.std(mixture - vocals, axis=-1)).ravel()
    ratio -= 20 * np.log10(np.std(tone(0)) / np.std(tone(1)))
    assert np.abs(ratio).max() < 8.01
    assert np.std(ratio) == pytest.approx(np.sqrt(2) * 8 / np.sqrt(12), abs=0.4)


def test_mono_vocals_are_spread_and_the_rest_of_the_example_stays():
    still = SongMix(**(PLAIN | {"level_db": (-20.0, -20.0)}))
    spread_out = replace(still, spread_share=1.0)
    (near, first), (far, second) = ([s[0] for s in mixed(tone(0), [tone(1)], mix)] for mix in (still, spread_out))
    np.testing.assert_allclose(near[0], near[1], rtol=1e-5)
    assert 0.3 < likeness(far[0], far[1]) < 0.999
    assert likeness(first - near, second - far) > 0.9999, "the accompaniment, but for the level"
    mono = [mixed(tone(0), [tone(1)], mix, channels=1)[0] for mix in (still, spread_out)]
    np.testing.assert_array_equal(*mono)


def test_stems_may_be_equalised_each_by_itself():
    noise = np.random.default_rng(1).normal(size=(2, 4096)).astype(np.float32)
    plain, other = (mixed(noise, [noise], SongMix(**(PLAIN | {"equalise_db": db}))) for db in (0.0, 6.0))
    assert likeness(plain[0], plain[1] - plain[0]) > 0.999999, "the same noise twice"
    assert likeness(other[0], other[1] - other[0]) < 0.999, "no longer the same"


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
    vocals, mixture = mixed(nothing, [nothing], SongMix())
    assert not vocals.any()
    assert mixture.any()


@pytest.fixture
def mono_too(songs, tmp_path):
    """A data set with songs of three stems, of one, and recordings without a partner, in stereo and in mono."""
    for kind in ("vocals", "accompaniment"):
        write(tmp_path / "m" / kind / "1.wav", tone(30 + (kind == "vocals"), 1.5))
    write(tmp_path / "music" / "x.wav", tone(40, 0.3))
    lines = [f"{k}/1.wav,songs_x_{k},1,A" for k in ("vocals", "accompaniment")]
    (tmp_path / "m" / "manifest.csv").write_text("\n".join(["file,kind,pair,tier", *lines]))

    def make(**options):
        places = {"manifest": str(tmp_path / "m" / "manifest.csv"), "folders": {"music": [str(tmp_path / "music")]}}
        return songs(**places, **options)

    return make


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bank_gb", [None, 1.0], ids=["mapped", "on the device"])
def test_eight_at_once_are_eight_one_by_one(mono_too, channels, bank_gb):
    data = mono_too(channels=channels, mix={"speed": [0.9, 1.1], "equalise_db": 3.0, "silent_share": 0.2})
    batches = data.on(CPU, bank_gb=bank_gb)
    assert isinstance(batches._bank, DeviceBank if bank_gb else MappedBank)
    vocals, mixture = batches.batch(range(8))
    assert vocals.shape == mixture.shape == (8, channels, 8000)
    for row in range(8):
        for made, wanted in zip((vocals, mixture), data[row], strict=True):
            error = np.abs(made[row].numpy() - wanted).max()
            assert error <= 1e-5 * np.abs(wanted).max()


def test_mixing_never_waits_for_the_device(mono_too):
    data = mono_too(mix={"speed": [0.9, 1.1], "equalise_db": 3.0})
    for bank_gb in (None, 1.0):
        with NoReadBack():
            data.on(CPU, bank_gb=bank_gb).batch(range(12))
        vocals, mixture = data.on(torch.device("meta"), bank_gb=bank_gb).batch(range(12))
        assert vocals.shape == mixture.shape == (12, 2, 8000)
        assert vocals.is_meta


def test_stems_of_a_remix_keep_the_asked_ratio_by_the_levels_of_whole_clips(songs, hq):
    for name, level in (("A - One", 0.02), ("B - Two", 0.3)):
        write(hq / "train" / name / "vocals.wav", tone(1, 1.0, channels=2, level=level))
    data = songs(mix={**PLAIN, "remix": 1.0, "snr_db": [3, 3]})
    for i in range(6):
        vocals, mixture = data[i]
        ratio = 20 * np.log10(np.std(vocals) / np.std(mixture - vocals))
        assert ratio == pytest.approx(3, abs=0.5)
