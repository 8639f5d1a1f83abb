"""The cache of decoded clips: right samples, decoded once, damage noticed."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from exdiff.data import cache as module
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.errors import DataError

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


def test_every_clip_is_decoded_once(clips, tmp_path, monkeypatch):
    decoded = []
    decode = module.decode_mono
    monkeypatch.setattr(module, "decode_mono", lambda path, *rest: (decoded.append(path), decode(path, *rest))[1])
    for _ in range(2):
        ClipCache(clips, tmp_path / "cache", RATE)
    assert decoded == [c.path for c in clips]
    ClipCache(clips[:2], tmp_path / "cache", RATE)
    ClipCache(clips, tmp_path / "cache", RATE // 2)
    assert len(decoded) == 8, "other clips and another rate are another cache"
    soundfile.write(clips[1].path, np.zeros(9), RATE)
    assert ClipCache(clips, tmp_path / "cache", RATE).lengths[1] == 9


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


def test_an_interrupted_build_leaves_nothing_behind(clips, tmp_path, monkeypatch):
    decode = module.decode_mono

    def breaks(path, *rest):
        if path == clips[2].path:
            raise KeyboardInterrupt
        return decode(path, *rest)

    monkeypatch.setattr(module, "decode_mono", breaks)
    with pytest.raises(KeyboardInterrupt):
        ClipCache(clips, tmp_path / "cache", RATE)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    monkeypatch.setattr(module, "decode_mono", decode)
    assert len(ClipCache(clips, tmp_path / "cache", RATE)) == 3


def test_a_clip_that_cannot_be_decoded_is_named(clips, tmp_path):
    clips[1].path.write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"cannot decode a training clip: .*b\.wav"):
        ClipCache(clips, tmp_path / "cache", RATE)


def test_a_clip_without_a_sample_left_is_named(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "decode_mono", lambda path, *rest: np.zeros(0, np.float32))
    with pytest.raises(DataError, match=r"a\.wav holds no sound"):
        ClipCache(clips, tmp_path / "cache", RATE)


def test_a_float_file_beyond_full_scale_does_not_wrap(clips, tmp_path):
    wave = np.array([0.5, -2.0, 1.5])
    soundfile.write(clips[1].path, wave, RATE, subtype="FLOAT")
    np.testing.assert_allclose(ClipCache(clips, tmp_path / "cache", RATE).read(1), wave, atol=1e-4)
