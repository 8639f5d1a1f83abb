"""Decoding a corpus: in several threads, resumed after an interruption, and with every bad file named."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from exdiff.core.errors import DataError
from exdiff.data import decoding
from exdiff.data.clips import Clip
from exdiff.data.datasets import ClipCache

RATE = 8000


@pytest.fixture
def clips(tmp_path):
    made = []
    for n in range(12):
        path = tmp_path / f"{n:02}.wav"
        soundfile.write(path, np.full(100 + n, 0.01 * (n + 1)), RATE, subtype="FLOAT")
        made.append(Clip(path, "speech"))
    return made


@pytest.fixture
def one_clip_a_part(monkeypatch):
    monkeypatch.setattr(decoding, "_CLIPS_A_PART", 1)


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("clips_a_part", [1, 4, 1000])
def test_parts_are_joined_in_order(clips, tmp_path, monkeypatch, clips_a_part):
    monkeypatch.setattr(decoding, "_CLIPS_A_PART", clips_a_part)
    cache = ClipCache(clips, tmp_path / "cache", RATE)
    assert cache.lengths.tolist() == [100 + n for n in range(12)]
    for n in range(12):
        np.testing.assert_allclose(cache.read(n), 0.01 * (n + 1), atol=1e-4)
    assert files(tmp_path / "cache") == ["audio.i16", "index.json"]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [cache.folder.name]


def test_several_clips_are_decoded_at_once(clips, tmp_path, monkeypatch, one_clip_a_part):
    both = threading.Barrier(2, timeout=30)  # breaks if one waits for a second that never comes
    decode_mono = decoding.decode_mono
    monkeypatch.setattr(decoding, "decode_mono", lambda *options: (both.wait(), decode_mono(*options))[1])
    monkeypatch.setattr(decoding, "_threads", lambda: 2)
    assert len(ClipCache(clips, tmp_path / "cache", RATE)) == 12


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (3, 3), (200, 8)])
def test_there_are_as_many_threads_as_cpus_up_to_a_limit(monkeypatch, cpus, threads):
    monkeypatch.setattr(decoding.os, "sched_getaffinity", lambda process: set(range(cpus)), raising=False)
    assert decoding._threads() == threads


def test_an_interrupted_build_goes_on(clips, tmp_path, monkeypatch, decoded, one_clip_a_part):
    counted = decoding.decode_clip

    def breaks(clip, *options):
        if len(decoded) == 7:
            raise KeyboardInterrupt
        return counted(clip, *options)

    monkeypatch.setattr(decoding, "_threads", lambda: 1)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "decode_clip", breaks)
        with pytest.raises(KeyboardInterrupt):
            ClipCache(clips, tmp_path / "cache", RATE)
    assert len(decoded) == 7
    assert not [name for name in files(tmp_path / "cache") if not name.endswith((".json", ".i16"))]
    assert len(ClipCache(clips, tmp_path / "cache", RATE)) == 12
    assert sorted(decoded) == [f"{n:02}" for n in range(12)], "none twice"


@pytest.mark.parametrize("suffix", [".json", ".i16"])
def test_a_part_that_a_power_failure_has_cut_is_decoded_again(clips, tmp_path, decoded, one_clip_a_part, suffix):
    whole = clips[7].path.read_bytes()
    clips[7].path.write_bytes(b"garbage")
    with pytest.raises(DataError, match="1 of 12"):
        ClipCache(clips, tmp_path / "cache", RATE)
    cut = sorted(tmp_path.rglob(f"parts-8000-mono/*{suffix}"))[2]
    cut.write_bytes(cut.read_bytes()[:-3])
    clips[7].path.write_bytes(whole)
    cache = ClipCache(clips, tmp_path / "cache", RATE)
    assert len(decoded) == 12 + 2
    for n in range(12):
        np.testing.assert_allclose(cache.read(n), 0.01 * (n + 1), atol=1e-4)


def test_every_bad_file_is_named_and_the_others_stay_decoded(clips, tmp_path, decoded, one_clip_a_part):
    clips[3].path.write_bytes(b"garbage")
    clips[8].path.unlink()
    with pytest.raises(DataError) as failed:
        ClipCache(clips, tmp_path / "cache", RATE)
    text = str(failed.value)
    assert text.startswith("2 of 12 training clips cannot be decoded: ")
    assert "03.wav" in text
    assert "08.wav: does not exist" in text
    assert "\n" not in text
    assert len(decoded) == 12, "one bad file does not stop the others"
    good = [clip for n, clip in enumerate(clips) if n not in (3, 8)]
    assert len(ClipCache(good, tmp_path / "cache", RATE)) == 10
    assert len(decoded) == 12, "without the bad files nothing is decoded again"


def test_very_many_bad_files_are_listed_in_a_file(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_SHOWN", 2)
    for clip in clips[:5]:
        clip.path.write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"01\.wav.*; and 3 more, all listed in .*unreadable\.txt") as failed:
        ClipCache(clips, tmp_path / "cache", RATE)
    assert "02.wav" not in str(failed.value)
    (listed,) = (tmp_path / "cache").rglob("unreadable.txt")
    assert [line.partition(".wav")[0][-2:] for line in listed.read_text().splitlines()] == [
        "00",
        "01",
        "02",
        "03",
        "04",
    ]


def test_a_clip_without_samples_is_named(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "decode_mono", lambda path, *rest: np.zeros(0 if path.stem == "05" else 9, "f4"))
    with pytest.raises(DataError, match=r"1 of 12 training clips cannot be decoded: .*05\.wav: holds no samples"):
        ClipCache(clips, tmp_path / "cache", RATE)


def test_removing_one_file_changes_one_part():
    def parts(keys):
        clips = [Clip(Path("/nowhere"), "speech")] * len(keys)
        return {tuple(keys[n] for n in numbers) for numbers in decoding._divide(clips, keys)}

    keys = [f"clip {n}" for n in range(500)]
    whole = parts(keys)
    assert 20 < len(whole) < 50
    assert sorted(key for part in whole for key in part) == sorted(keys)
    for n in (0, 77, 250, 499):
        assert len(whole - parts(keys[:n] + keys[n + 1 :])) <= 2


def test_large_files_end_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_CLIPS_A_PART", 1000)
    monkeypatch.setattr(decoding, "_PART_BYTES", 250)
    (tmp_path / "a").write_bytes(bytes(100))
    clips = [Clip(tmp_path / "a", "speech")] * 7
    assert list(decoding._divide(clips, [f"k{n}" for n in range(7)])) == [[0, 1, 2], [3, 4, 5], [6]]


def test_another_process_may_finish_the_same_cache_first(clips, tmp_path, monkeypatch, one_clip_a_part):
    join, calls = decoding._join, []

    def late(parts, folder):
        calls.append(1)
        if len(calls) == 1:
            parts[4].remove()  # joined and removed by another process, for another selection of clips
        join(parts, folder)

    monkeypatch.setattr(decoding, "_join", late)
    cache = ClipCache(clips, tmp_path / "cache", RATE)
    assert len(calls) == 2
    np.testing.assert_allclose(cache.read(4), 0.05, atol=1e-4)


def test_a_disk_that_refuses_is_a_data_error(clips, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match="cannot write the cache of decoded clips .*; free some space, or set EXDIFF_CACHE"
    ):
        ClipCache(clips, tmp_path / "file", RATE)
