"""The picture stays beside the new sound: the same packets, in sync, in every container of films."""

import shutil
import subprocess

import av
import numpy as np
import pytest

from exdiff.audio import AudioReader
from exdiff.audio.encode import AudioWriter
from exdiff.audio.tags.metadata import read_metadata
from exdiff.audio.targets import choose_target, plan_suffix
from exdiff.core.errors import AudioError

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def film(path, *options, seconds=2, before=()):
    """A film with a click in its sound 1 s after the sound begins."""
    click = f"aevalsrc='0.001*sin(3000*t)+0.8*between(t,1,1.002)':s=48000:d={seconds}"
    picture = f"testsrc=size=64x48:rate=25:duration={seconds}"
    ffmpeg("-f", "lavfi", "-i", picture, *before, "-f", "lavfi", "-i", click, *options, path)
    return path


def packets(path):
    """(content, time in seconds) of the packets of the picture."""
    with av.open(str(path)) as container:
        return [(bytes(one), float(one.pts * one.time_base)) for one in container.demux(video=0) if one.size]


def kinds(path):
    """What the streams are, in their order."""
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


def click_seconds(path):
    """When the click is heard, on the container's clock."""
    with AudioReader(path) as reader:
        sound = np.concatenate(list(reader.blocks()), axis=1)
        start = reader.start if hasattr(reader, "start") else 0.0
    return start + np.abs(sound[0]).argmax() / reader.info.sample_rate


def through(source, tmp_path):
    suffix, _ = plan_suffix(source, keep_video=True)
    result = tmp_path / f"result{suffix}"
    with AudioReader(source) as reader:
        target, _ = choose_target(reader.info, suffix)
        writer = AudioWriter(
            result, reader.info.sample_rate, reader.info.channels, target=target, metadata=read_metadata(source),
            picture_from=source,
        )  # fmt: skip
        with writer:
            for block in reader.blocks():
                writer.write(block)
    return result, writer.notes


FILMS = {
    "h264.mp4": ("-c:v", "libx264", "-bf", "2", "-c:a", "aac"),
    "h264.mov": ("-c:v", "libx264", "-c:a", "pcm_s16le"),
    "h264.mkv": ("-c:v", "libx264", "-bf", "2", "-c:a", "ac3"),
    "vp8.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-bf", "0", "-c:a", "mp2"),
    "sound_first.mp4": ("-map", "1:a", "-map", "0:v", "-c:v", "mpeg4", "-c:a", "aac"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
}


@pytest.mark.parametrize("name", FILMS)
def test_picture_and_sound_stay_together(tmp_path, name):
    source = film(tmp_path / name, *FILMS[name])
    result, notes = through(source, tmp_path)
    assert result.suffix == {".avi": ".mkv"}.get(source.suffix, source.suffix)
    before, after = packets(source), packets(result)
    assert [len(data) for data, _ in after] == [len(data) for data, _ in before] or "h264" in name
    assert len(after) == len(before)
    apart = np.diff([time for _, time in after]) - np.diff([time for _, time in before])
    assert np.abs(apart).max() < 0.002
    assert click_seconds(result) - after[0][1] == pytest.approx(click_seconds(source) - before[0][1], abs=0.003)
    assert notes == []
    assert kinds(result) == kinds(source)
    ffmpeg("-i", result, "-map", "0:v", "-f", "null", "-")  # it decodes


@pytest.mark.parametrize("delay", ["0.4", "-0.3"])
def test_sound_that_starts_before_or_after_the_picture(tmp_path, delay):
    source = film(tmp_path / "x.mkv", "-c:v", "libx264", "-c:a", "aac", before=("-itsoffset", delay))
    result, _ = through(source, tmp_path)
    before, after = packets(source), packets(result)
    assert click_seconds(result) - after[0][1] == pytest.approx(click_seconds(source) - before[0][1], abs=0.003)


def test_subtitles_and_their_language_come_along(tmp_path):
    (tmp_path / "x.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nHello\n")
    before = ("-i", tmp_path / "x.srt")
    mapping = ("-map", "0:v", "-map", "2:a", "-map", "1:s", "-metadata:s:s:0", "language=fra")
    source = film(tmp_path / "x.mkv", *mapping, "-c:v", "mpeg4", "-c:a", "aac", before=before)
    result, _ = through(source, tmp_path)
    texts = []
    for path in (source, result):
        with av.open(str(path)) as container:
            (subtitle,) = container.streams.subtitles
            assert subtitle.language == "fra"
            texts.append([(bytes(one), one.pts) for one in container.demux(subtitle) if one.size])
    assert texts[0] == texts[1]
    assert b"Hello" in texts[0][0][0]


def test_a_sound_without_picture_is_refused_and_nothing_is_left(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.3", tmp_path / "x.mka")
    with AudioReader(tmp_path / "x.mka") as reader:
        target, _ = choose_target(reader.info, ".mkv")
    with pytest.raises(AudioError, match="has no picture; leave out --keep-video"):
        AudioWriter(tmp_path / "y.mkv", 44100, 1, target=target, picture_from=tmp_path / "x.mka")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mka"]


def test_a_film_that_becomes_sound_says_that_the_picture_is_left_out(tmp_path):
    source = film(tmp_path / "x.mp4", "-c:v", "mpeg4", "-c:a", "aac")
    with AudioWriter(tmp_path / "y.wav", 48000, 1, metadata=read_metadata(source)) as writer:
        writer.write(np.zeros((1, 100), np.float32))
    assert writer.notes == ["the picture is left out; --keep-video keeps it"]
