"""Channels: 1 to 8 of them, one tone each, through every format and from each format to each other."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
import soundfile
from checks import Expected, check_sound, read
from identity import use_identity
from make import CLICKS, FORMATS, FRAMES, sound, wave_file

MOST = {
    "wav": 8,
    "wav float": 8,
    "rf64 ffmpeg": 8,
    "w64": 8,
    "aiff": 8,
    "caf": 8,
    "au": 8,
    "mov pcm": 8,
    "mka pcm": 8,
    "flac": 8,
    "flac ffmpeg": 8,
    "mka flac": 8,
    "alac": 8,
    "wv": 8,
    "ogg": 8,
    "opus": 8,
    "opus opusenc": 8,
    "webm opus": 8,
    "mka vorbis": 8,
    "m4a": 8,
    "mp4": 8,
    "mkv aac": 8,
    "aac": 8,
    "ts aac": 8,
    "ac3": 6,
    "eac3": 6,
    "mp3": 2,
}
# What the program itself gets wrong: FFmpeg's ADTS has no 7 channels, its ALAC makes 6.1 of 7.1, its Opus permutes 5
# and 7.
_LEFT_OUT = {("ac3", 3), ("alac", 4), ("alac", 7), ("alac", 8), ("aac", 4), ("aac", 7), ("ts aac", 4), ("ts aac", 7)}
_LEFT_OUT |= {("opus", 5), ("opus", 7), ("webm opus", 5), ("webm opus", 7)}
_ALL = ("wav", "flac", "ogg", "opus opusenc", "m4a", "mov pcm", "mka pcm")  # the others without 4 and 7 channels
CASES = [
    (name, n)
    for name, most in MOST.items()
    for n in (1, 3, 4, 5, 6, 7, 8)
    if n <= most and (name, n) not in _LEFT_OUT and (name in _ALL or n not in (4, 7))
]
PAIRS = {"wav": "wav", "flac": "flac", "ogg": "ogg", "opus": "opus", "m4a": "m4a", "ac3": "", "mka pcm": "", "caf": ""}
MASKS = {"2.1": (3, 0xB), "quad(side)": (4, 0x603), "4.0": (4, 0x107), "5.1(side)": (6, 0x60F), "hexagonal": (6, 0x137)}


def expected(name, channels, pad=0):
    kind = FORMATS[name]
    late, longer = 2 * kind.delay, 2 * (kind.delay + kind.pad) + pad
    return Expected(FRAMES, kind.rate, channels, CLICKS, late=late + 3, longer=longer)


def slack(name):
    """FFmpeg reads Vorbis to the end of its last block, here where libsndfile does not keep the order of channels."""
    return 2048 if "vorbis" in FORMATS[name].make.lower() or FORMATS[name].suffix == "ogg" else 0


@pytest.mark.parametrize(("name", "channels"), CASES, ids=[f"{name}-{channels}" for name, channels in CASES])
def test_same_format(maker, put_through, name, channels):
    run = put_through(maker.file(name, channels))
    assert run.check() == "whole", run.stderr
    check_sound(run.result, expected(name, channels, slack(name)))


@pytest.mark.parametrize("channels", [5, 6])
@pytest.mark.parametrize("target", ["wav", "flac", "ogg", "opus", "m4a"])
@pytest.mark.parametrize("name", PAIRS)
def test_from_each_to_each(maker, put_through, name, target, channels):
    if (name, channels) in _LEFT_OUT:
        pytest.skip("the program permutes them")
    if target == PAIRS[name]:
        pytest.skip("that is test_same_format")
    run = put_through(maker.file(name, channels), "--format", target)
    assert run.check() in ("whole", "warning"), run.stderr
    assert run.result.suffix == f".{target}"
    check_sound(run.result, expected(name, channels, 2048 if target == "ogg" else slack(name)))


@pytest.mark.parametrize("target", ["wav", "flac", "m4a"])
@pytest.mark.parametrize("layout", MASKS)
def test_masks_are_kept(tmp_path, put_through, layout, target):
    channels, mask = MASKS[layout]
    data = wave_file(sound(channels), 48000)
    at = data.index(b"fmt ") + 8 + 20
    source = tmp_path / "x.wav"
    source.write_bytes(data[:at] + struct.pack("<I", mask) + data[at + 4 :])
    run = put_through(source, *(["--format", target] if target != "wav" else []))
    outcome = run.check()
    assert outcome in ("whole", "warning")
    with av.open(str(run.result)) as container:
        kept = container.streams.audio[0].layout.name
    assert kept == layout or (outcome == "warning" and "layout" in run.stderr), f"{layout} became {kept} without a word"


def test_no_mask_stays_no_mask(tmp_path, put_through):
    source = tmp_path / "x.wav"
    soundfile.write(source, sound(5), 48000, "PCM_16", format="WAV")
    run = put_through(source)
    assert run.check() == "whole"
    check_sound(run.result, Expected(FRAMES, 48000, 5, CLICKS))


@pytest.mark.parametrize("target", ["mp3", "opus", "m4a", "flac", "ogg"])
def test_more_channels_than_a_format_holds(tmp_path, put_through, target):
    source = tmp_path / "x.wav"
    soundfile.write(source, sound(2).repeat(6, 1), 48000, "PCM_16", format="WAV")
    run = put_through(source, "--format", target)
    assert run.check() == "error"
    assert "channels" in run.stderr


@pytest.mark.parametrize(
    "name",
    [
        "wav",
        "wav 24",
        "wav float",
        "aiff 24",
        "flac",
        "flac 24",
        "caf",
        "alac",
        "mka pcm",
        "wv",
        "au",
        "w64",
        "mov pcm",
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_stems_add_up_exactly(tmp_path, monkeypatch, maker, put_through, name, channels):
    use_identity(monkeypatch.setattr, share=0.37)
    source = maker.file(name, channels)
    run = put_through(source, "--stems")
    assert run.bug is None and run.code == 0 and run.stderr == "", run.stderr
    one, two = (read(path)[0] for path in run.written)
    song = read(source)[0]
    if FORMATS[name].bits:
        np.testing.assert_array_equal(one + two, song)
    else:
        np.testing.assert_allclose(one + two, song, atol=2**-24)
    assert np.abs(two - 0.37 * song).max() < 1e-4 or np.abs(one - 0.37 * song).max() < 1e-4
