"""Containers with more than one stream, with holes in their time stamps, late starts, edit lists, joins and changes."""

from __future__ import annotations

import av
import numpy as np
import pytest
from checks import Expected, check_sound, find_clicks, read, tones
from make import CLICKS, FORMATS, FRAMES, LONG, LONG_CLICKS, sound, wave_file
from pages import chained, ogg_pages

RATE = 48000
VIDEO = "-f lavfi -i testsrc=s=64x48:r=10:d=2"
ENCODERS = {
    "mkv": "-c:a aac",
    "mp4": "-c:a aac",
    "mov": "-c:a alac",
    "ts": "-c:a aac",
    "webm": "-c:a libopus",
    "mka": "-c:a flac",
    "m4a": "-c:a aac",
}
VIDEO_ENCODERS = {"mkv": "mpeg4", "mp4": "mpeg4", "mov": "mpeg4", "ts": "mpeg2video", "webm": "libvpx", "avi": "mpeg4"}


@pytest.mark.parametrize("suffix", ENCODERS)
def test_holes_in_the_time_stamps_become_silence(maker, put_through, wide, suffix):
    gap = "-af aselect='not(between(t,0.7,1.2))' -vsync 0"
    source = maker.run(f"hole.{suffix}", f"ffmpeg -v error -y -i {{wide}} {gap} {ENCODERS[suffix]} {{out}}", wide=wide)
    run = put_through(source)
    assert run.check() in ("whole", "warning"), run.stderr
    samples, _ = read(run.result)
    assert abs(len(samples) - LONG) <= 4096
    found = find_clicks(samples[:, 0])
    assert len(found) == 2 and abs(found[1] - found[0] - 72000) <= 64, f"clicks at {found}"
    middle = samples[found[0] + 33000 : found[0] + 33000 + 4800]  # 0.94 s to 1.04 s
    assert np.sqrt(np.mean(middle**2)) < 0.01, "the hole is silent"


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts", "webm"])
def test_sound_that_starts_after_the_picture_keeps_its_place(maker, put_through, wide, suffix):
    codecs = f"{ENCODERS[suffix]} -c:v {VIDEO_ENCODERS[suffix]}"
    command = f"ffmpeg -v error -y {VIDEO} -itsoffset 0.5 -i {{wide}} -map 0:v -map 1:a {codecs} {{out}}"
    run = put_through(maker.run(f"late.{suffix}", command, wide=wide))
    assert run.check() == "warning", "a line says what was done"
    samples, _ = read(run.result)
    found = find_clicks(samples[:, 0])
    moved = [place - start for place, start in zip(found, LONG_CLICKS, strict=True)]
    in_place = all(abs(shift - RATE // 2) <= 2400 for shift in moved) and abs(len(samples) - LONG - RATE // 2) <= 6000
    reported = all(abs(shift) <= 2400 for shift in moved)
    assert in_place or reported, f"clicks moved by {moved} samples"


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts", "webm", "mka"])
def test_of_two_tracks_the_default_one(maker, put_through, wide, suffix):
    other = "-f lavfi -i sine=f=1700:r=48000:d=2"
    marks = "-disposition:a:0 0 -disposition:a:1 default" if suffix != "ts" else ""
    command = f"ffmpeg -v error -y {other} -i {{wide}} -map 0:a -map 1:a {ENCODERS[suffix]} -ac 2 {marks} {{out}}"
    source = maker.run(f"two.{suffix}", command, wide=wide)
    run = put_through(source)
    assert run.check() == "warning" and "2 audio streams" in run.stderr, f"no line about the streams: {run.stderr}"
    assert "--stream" in run.stderr
    samples, rate = read(run.result)
    default = suffix != "ts"  # TS has no default
    assert len(find_clicks(samples[:, 0])) == 2 or not default
    wanted = 440 if default else 1700
    assert abs(tones(samples, rate, slice(20000, 60000))[0] - wanted) < 12


@pytest.mark.parametrize(("stream", "wanted"), [(0, 1700), (1, 440)])
def test_stream_takes_another_track(maker, put_through, wide, stream, wanted):
    command = (
        "ffmpeg -v error -y -f lavfi -i sine=f=1700:r=48000:d=2 -i {wide} -map 0:a -map 1:a -c:a aac -ac 2 "
        "-disposition:a:0 0 -disposition:a:1 default {out}"
    )
    run = put_through(maker.run("two.mkv", command, wide=wide), "--stream", stream)
    run.check()
    samples, rate = read(run.result)
    assert abs(tones(samples, rate, slice(20000, 60000))[0] - wanted) < 12


def test_a_track_that_is_not_there(maker, put_through):
    run = put_through(maker.file("m4a"), "--stream", 3)
    assert run.check() == "error"
    assert "stream" in run.stderr


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "mov"])
def test_edit_lists(maker, put_through, wide, suffix):
    """Cut without encoding again: the packets from the key frame before are there, but do not belong to the sound."""
    whole = maker.run(f"whole.{suffix}", f"ffmpeg -v error -y -i {{wide}} {ENCODERS[suffix]} {{out}}", wide=wide)
    cut = maker.run(f"edited.{suffix}", "ffmpeg -v error -y -ss 0.51 -i {whole} -c copy {out}", whole=whole)
    run = put_through(cut)
    assert run.check() in ("whole", "warning"), run.stderr
    samples, _ = read(run.result)
    found = find_clicks(samples[:, 0])
    start = round(0.51 * RATE)
    assert len(found) == 1 and abs(found[0] - (LONG_CLICKS[1] - start)) <= 4096, f"clicks at {found}"
    assert abs(len(samples) - (LONG - start)) <= 4096


@pytest.mark.parametrize("suffix", VIDEO_ENCODERS)
def test_the_sound_of_a_video(maker, put_through, wide, suffix):
    codecs = f"{ENCODERS.get(suffix, '-c:a libmp3lame')} -c:v {VIDEO_ENCODERS[suffix]}"
    source = maker.run(f"film.{suffix}", f"ffmpeg -v error -y {VIDEO} -i {{wide}} {codecs} {{out}}", wide=wide)
    run = put_through(source)
    assert run.check() in ("whole", "warning"), run.stderr
    check_sound(run.result, Expected(LONG, RATE, 2, LONG_CLICKS, late=4800, longer=8192, early=1100))


@pytest.mark.parametrize("suffix", VIDEO_ENCODERS)
def test_keep_video(maker, put_through, wide, suffix):
    codecs = f"{ENCODERS.get(suffix, '-c:a libmp3lame')} -c:v {VIDEO_ENCODERS[suffix]}"
    source = maker.run(f"film.{suffix}", f"ffmpeg -v error -y {VIDEO} -i {{wide}} {codecs} {{out}}", wide=wide)
    run = put_through(source, "--keep-video")
    assert run.check() in ("whole", "warning"), run.stderr
    pictures = []
    for path in (source, run.result):
        with av.open(str(path)) as container:
            (video,) = container.streams.video
            base = float(video.time_base)
            packets = [p for p in container.demux(video) if p.size]
            pictures.append([(bytes(p), p.pts * base) for p in packets])
    assert [data for data, _ in pictures[0]] == [data for data, _ in pictures[1]], "the picture is the same, bit by bit"
    starts = [picture[0][1] for picture in pictures]
    times = [np.array([time for _, time in picture]) - start for picture, start in zip(pictures, starts, strict=True)]
    np.testing.assert_allclose(times[1], times[0], atol=2e-3)
    samples, _ = read(run.result)
    found = find_clicks(samples[:, 0])
    assert [abs(a - b) <= 2400 for a, b in zip(found, LONG_CLICKS, strict=True)] == [True, True]


def test_a_video_without_sound(maker, put_through):
    run = put_through(maker.run("mute.mp4", f"ffmpeg -v error -y {VIDEO} -c:v mpeg4 {{out}}"))
    assert run.check() == "error"
    assert "no audio" in run.stderr


@pytest.mark.parametrize("first", ["mono", "stereo"])
def test_aac_that_changes_its_channels(tmp_path, maker, put_through, first):
    mono = maker.file("aac", 1).read_bytes()
    stereo = maker.file("aac", 2).read_bytes()
    source = tmp_path / "changes.aac"
    source.write_bytes(mono + stereo if first == "mono" else stereo + mono)
    run = put_through(source)
    if run.check() == "error":
        assert "channel" in run.stderr
    else:
        assert len(read(run.result)[0]) >= 2 * FRAMES


@pytest.mark.parametrize(("name", "rate"), [("ogg", 22050), ("opus", 24000)])
def test_a_chain_whose_rate_changes(tmp_path, maker, put_through, name, rate):
    """Opus always has 48 kHz inside; Vorbis changes."""
    kind = FORMATS[name]
    codec = kind.make.split("-c:a")[1].split()[0]
    other = maker.run(
        f"other-{rate}.{kind.suffix}",
        f"ffmpeg -v error -y -i {{src}} -ar {rate} -c:a {codec} {{out}}",
        src=maker.source(kind),
    )
    source = tmp_path / f"x.{kind.suffix}"
    source.write_bytes(maker.file(name).read_bytes() + other.read_bytes())
    run = put_through(source)
    if run.check() == "error":
        assert "Hz" in run.stderr or "rate" in run.stderr
    else:
        samples, got = read(run.result)
        assert abs(len(samples) / got - 2 * FRAMES / RATE) < 0.05


def test_a_chain_whose_channels_change(tmp_path, maker, put_through):
    source = tmp_path / "x.ogg"
    source.write_bytes(maker.file("ogg", 2).read_bytes() + maker.file("ogg", 1).read_bytes())
    run = put_through(source)
    assert run.check() in ("error", "warning")
    assert "channel" in run.stderr


def test_a_chain_of_ten_links(tmp_path, maker, put_through):
    source = tmp_path / "x.ogg"
    source.write_bytes(chained(maker.file("ogg").read_bytes(), 10))
    run = put_through(source)
    assert run.check() in ("whole", "warning"), run.stderr
    starts = tuple(start + link * FRAMES for link in range(10) for start in CLICKS)
    check_sound(run.result, Expected(10 * FRAMES, RATE, 2, starts))


def test_two_streams_at_once_in_one_ogg(tmp_path, maker, put_through):
    """Multiplexed, not chained: pages of two serial numbers alternate."""
    streams = [ogg_pages(maker.file(name).read_bytes()) for name in ("ogg", "opus ogg")]
    pages = [stream[0] for stream in streams]
    rest = [stream[1:] for stream in streams]
    while any(rest):
        pages += [stream.pop(0) for stream in rest if stream]
    source = tmp_path / "x.ogg"
    source.write_bytes(b"".join(pages))
    run = put_through(source)
    assert run.check() in ("error", "warning"), "one of two streams was left out without a word"


def test_recordings_of_ts_one_after_the_other(tmp_path, maker, put_through):
    source = tmp_path / "x.ts"
    source.write_bytes(maker.file("ts aac").read_bytes() * 2)
    run = put_through(source)
    if run.check() != "error":
        assert len(read(run.result)[0]) >= 2 * FRAMES - 1024
        assert len(find_clicks(read(run.result)[0][:, 0])) == 4


@pytest.mark.parametrize("codec", ["libmp3lame", "aac", "ac3"])
def test_wav_that_holds_a_lossy_codec(maker, put_through, wide, codec):
    source = maker.run(f"holds-{codec}.wav", f"ffmpeg -v error -y -i {{wide}} -c:a {codec} {{out}}", wide=wide)
    run = put_through(source)
    assert run.check() in ("whole", "warning", "error")
    if run.code == 0:
        check_sound(run.result, Expected(LONG, RATE, 2, LONG_CLICKS, late=4800, longer=8192, early=1100))


RATES = "wav 8000, wav 192000, flac 96000, m4a 96000, mp3 8000, ogg 96000, aiff 11025, m4a 8000, caf 44101"


@pytest.mark.parametrize(("suffix", "rate"), [(case.split()[0], int(case.split()[1])) for case in RATES.split(", ")])
def test_rates(tmp_path, maker, put_through, suffix, rate):
    wav = tmp_path / "in.wav"
    wav.write_bytes(wave_file(sound(2, rate), rate))
    source = maker.run(f"rate-{rate}.{suffix}", "ffmpeg -v error -y -i {wav} {out}", wav=wav)
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    check_sound(run.result, Expected(FRAMES, rate, 2, CLICKS))
