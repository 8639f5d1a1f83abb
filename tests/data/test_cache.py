"""The cache of decoded clips: right samples, decoded once, damage noticed."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import soundfile

from exdiff.core.errors import DataError
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.data.decoding import rms

RATE = 8000


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for name, length in (("a", 800), ("b", 1), ("c", 500)):
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-0.9, 0.9, length), RATE, subtype="PCM_16")
        made.append(Clip(tmp_path / f"{name}.wav", "speech"))
    return made


def test_it_gives_what_the_files_hold(clips, tmp_path):
    cache = ClipCache(clips, tmp_path / "cache", RATE)
    assert len(cache) == 3
    assert cache.lengths.tolist() == [800, 1, 500]
    for i, clip in enumerate(clips):
        wanted, _ = soundfile.read(clip.path, dtype="float32")
        assert cache.read(i).dtype == np.float32
        np.testing.assert_allclose(cache.read(i), wanted, atol=1e-4)
    np.testing.assert_array_equal(cache.read(0, 10, 20), cache.read(0)[10:30])
    np.testing.assert_array_equal(cache.read(0, 790, 20), cache.read(0)[790:])
    assert len(cache.read(1, 0, 99)) == 1


def test_every_clip_is_decoded_once(clips, tmp_path, decoded):
    for _ in range(2):
        ClipCache(clips, tmp_path / "cache", RATE)
    assert sorted(decoded) == ["a", "b", "c"]
    ClipCache(clips[:2], tmp_path / "cache", RATE)
    ClipCache(clips, tmp_path / "cache", RATE // 2)
    assert len(decoded) == 8, "other clips and another rate are another cache"


def test_a_file_that_was_edited_in_place_is_decoded_again(clips, tmp_path):
    before = ClipCache(clips, tmp_path / "cache", RATE).read(0)
    time, size = clips[0].path.stat().st_mtime_ns, clips[0].path.stat().st_size
    soundfile.write(clips[0].path, -before, RATE, subtype="PCM_16")
    os.utime(clips[0].path, ns=(time, time + 1))
    assert clips[0].path.stat().st_size == size
    np.testing.assert_allclose(ClipCache(clips, tmp_path / "cache", RATE).read(0), -before, atol=1e-4)
    os.utime(clips[0].path, ns=(time, time))
    soundfile.write(clips[1].path, np.zeros(9), RATE)
    assert ClipCache(clips, tmp_path / "cache", RATE).lengths[1] == 9, "another length"


@pytest.mark.parametrize("channels", [1, 2])
def test_the_level_is_that_of_the_whole_clip(clips, tmp_path, channels):
    soundfile.write(clips[1].path, np.array([[0.5, -3.0], [0.1, 0.2]]), RATE, subtype="FLOAT")
    cache = ClipCache(clips, tmp_path / "cache", RATE, channels)
    assert cache.levels.tolist() == [rms(cache.read(i)) for i in range(3)], "to the last bit"


def test_other_rates_are_resampled(clips, tmp_path):
    assert ClipCache(clips, tmp_path / "cache", 2 * RATE).lengths[0] == 1600


@pytest.mark.parametrize("damage", ["short", "odd", "empty", "gone", "index", "index key"])
def test_damage_is_noticed(clips, tmp_path, damage):
    folder = ClipCache(clips, tmp_path / "cache", RATE).folder
    audio, index = folder / "audio.i16", folder / "index.json"
    whole = audio.read_bytes()
    if damage == "gone":
        audio.unlink()
    elif damage.startswith("index"):
        index.write_text("{" if damage == "index" else '{"starts": []}')
    else:
        audio.write_bytes(whole[: {"short": 100, "odd": 101, "empty": 0}[damage]])
    with pytest.raises(DataError, match="is damaged; delete that folder and start again"):
        ClipCache(clips, tmp_path / "cache", RATE)


def test_a_float_file_beyond_full_scale_does_not_wrap(clips, tmp_path):
    wave = np.array([0.5, -2.0, 1.5])
    soundfile.write(clips[1].path, wave, RATE, subtype="FLOAT")
    np.testing.assert_allclose(ClipCache(clips, tmp_path / "cache", RATE).read(1), wave, atol=1e-4)


def test_stereo_and_streams_are_kept_beside_mono(clips, tmp_path):
    wide = np.random.default_rng(1).uniform(-0.9, 0.9, (700, 2))
    soundfile.write(clips[1].path, wide, RATE, subtype="FLOAT")
    soundfile.write(clips[2].path, np.repeat(wide[:, :1], 3, axis=1), RATE, subtype="FLOAT")
    cache = ClipCache(clips, tmp_path / "cache", RATE, channels=2)
    assert [cache.read(i).shape for i in range(3)] == [(1, 800), (2, 700), (1, 700)]
    np.testing.assert_allclose(cache.read(1), wide.T, atol=1e-4)
    np.testing.assert_array_equal(cache.read(1, 100, 50), cache.read(1)[:, 100:150])
    np.testing.assert_allclose(cache.read(2), wide.T[:1], atol=1e-4)
    assert cache.levels[1] == pytest.approx(np.sqrt(np.mean(wide**2)), rel=1e-3)
    mono = ClipCache(clips, tmp_path / "cache", RATE)
    np.testing.assert_allclose(mono.read(1), wide.mean(axis=1), atol=1e-4)
    assert mono.folder != cache.folder
    with pytest.raises(DataError, match="channels must be 1"):
        ClipCache(clips, tmp_path / "cache", RATE, channels=6)


def test_no_clips_are_an_empty_cache(tmp_path):
    assert len(ClipCache([], tmp_path / "cache", RATE)) == 0


def test_a_pickled_cache_holds_no_samples(clips, tmp_path):
    soundfile.write(clips[0].path, np.zeros(100_000), RATE)
    cache = ClipCache(clips, tmp_path / "cache", RATE)
    data = pickle.dumps(cache)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).read(2), cache.read(2))
