"""--salvage: what can be decoded of a cut or damaged file, with a line that says what is missing, and exit code 1."""

from __future__ import annotations

import re

import pytest
from checks import find_clicks, read
from faults import overwrite
from make import FRAMES, LONG, LONG_CLICKS

ENCODERS = {
    "wav": "",
    "aiff": "",
    "caf": "",
    "w64": "",
    "au": "",
    "flac": "",
    "wv": "",
    "tta": "",
    "oga": "-c:a flac -page_duration 100000",
    "ogg": "-c:a libvorbis -page_duration 100000",
    "opus": "-page_duration 100000",
    "mp3": "-b:a 128k",
    "mka": "-c:a flac",
    "mkv": "-c:a aac",
    "webm": "-c:a libopus",
    "weba": "-c:a libvorbis -f webm",
    "avi": "-c:a libmp3lame",
    "flv": "-c:a aac",
    "m4a": "",
    "mp4": "-c:a aac -movflags +faststart",
    "mov": "-c:a alac -movflags +faststart",
    "m4b": "-c:a aac -f mp4 -movflags +frag_keyframe+empty_moov -frag_duration 200000",
}


_NOT_DAMAGED = ("wav", "aiff", "caf", "w64", "au", "tta")  # PCM is as good as any; a frame of TTA lasts a second


def salvaged(run):
    """Exit code 1 with a result, and one line that says how much is missing."""
    assert run.bug is None and "internal error" not in run.stderr, run.stderr
    assert run.stray == "", run.stray
    assert run.code == 1 and len(run.written) == 1, run.stderr
    assert any(re.search(r"\d\.\d+ s", line) and "missing" in line for line in run.lines), run.stderr
    return read(run.result)[0]


@pytest.mark.parametrize("suffix", ENCODERS)
def test_the_first_part_of_a_cut_file(tmp_path, maker, put_through, wide, suffix):
    """Only an MP4 whose index would stand at the end holds nothing without it."""
    whole = maker.run(f"salvage.{suffix}", f"ffmpeg -v error -y -i {{wide}} {ENCODERS[suffix]} {{out}}", wide=wide)
    data = whole.read_bytes()
    source = tmp_path / f"x.{suffix}"
    source.write_bytes(data[: round(0.6 * len(data))])
    assert put_through(source).check() == "error", "without --salvage it is refused"
    run = put_through(source, "--salvage")
    if suffix == "m4a":
        assert run.check() == "error"
        return
    samples = salvaged(run)
    assert 0.4 * LONG <= len(samples) <= LONG + 4096
    found = find_clicks(samples[: LONG // 2, 0])
    assert len(found) == 1 and -2 <= found[0] - LONG_CLICKS[0] <= 2300, f"clicks at {found}"


@pytest.mark.parametrize("suffix", [suffix for suffix in ENCODERS if suffix not in _NOT_DAMAGED])
def test_the_rest_behind_a_damage_keeps_its_place(tmp_path, maker, put_through, wide, suffix):
    whole = maker.run(f"salvage.{suffix}", f"ffmpeg -v error -y -i {{wide}} {ENCODERS[suffix]} {{out}}", wide=wide)
    source = tmp_path / f"x.{suffix}"
    source.write_bytes(overwrite(0.45, 1500)(whole.read_bytes()))
    run = put_through(source, "--salvage")
    if run.code == 0:
        assert run.check() in ("whole", "warning")
        samples = read(run.result)[0]
    else:
        samples = salvaged(run)
    found = find_clicks(samples[: LONG // 3, 0])  # the damage itself may click too
    assert found and -2 <= found[0] - LONG_CLICKS[0] <= 2300, f"clicks at {found}"
    if len(samples) > LONG_CLICKS[1] + 4096:  # the rest was found again
        late = find_clicks(samples[LONG_CLICKS[1] - 6000 :, 0])[0] - 6000
        assert abs(late) <= 2 * 4096, f"the second click moved by {late} samples"


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "m4a", "ogg", "opus", "mka pcm"])
def test_a_healthy_file_is_as_without_it(maker, put_through, name):
    run = put_through(maker.file(name), "--salvage")
    assert run.check() == "whole", run.stderr
    assert len(read(run.result)[0]) == FRAMES


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "m4a", "ogg"])
def test_nothing_to_salvage(tmp_path, put_through, suffix):
    source = tmp_path / f"x.{suffix}"
    source.write_bytes(b"this is a text, not a sound\n" * 50)
    assert put_through(source, "--salvage").check() == "error"
