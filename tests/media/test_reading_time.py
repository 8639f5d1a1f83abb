"""Sound keeps its place in time: holes in the time stamps, a late start, several tracks, edit lists, padding."""

import numpy as np
import pytest
from sound import CLICK, click_at, ffmpeg, read, write

from exdiff.audio import AudioReader
from exdiff.core.errors import AudioError

FRAME = 1100  # samples of an AAC frame, and rounding to milliseconds
VIDEO = ("-f", "lavfi", "-i", "color=black:s=32x32:r=10:d=3")


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "source.wav", rate=48000, channels=1, seconds=3, click=2.4)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("mkv", "aac"),
        ("mkv", "libmp3lame"),
        ("mkv", "flac"),
        ("webm", "libopus"),
        ("webm", "libvorbis"),
        ("mkv", "ac3"),
    ],
)
def test_a_hole_becomes_silence(tmp_path, source, suffix, codec):
    path = tmp_path / f"x.{suffix}"
    ffmpeg("-i", source, "-af", "aselect='not(between(t,0.8,1.9))'", "-c:a", codec, "-vsync", "0", path)
    check_hole(path, FRAME if codec in ("aac", "libmp3lame", "ac3", "libvorbis") else 100)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "ts", "flv", "mka"])
def test_a_hole_that_was_muxed_again(tmp_path, source, suffix):
    first, path = tmp_path / "x.mkv", tmp_path / f"x.{suffix}"
    ffmpeg("-i", source, "-af", "aselect='not(between(t,0.8,1.9))'", "-c:a", "aac", "-vsync", "0", first)
    ffmpeg("-i", first, "-c", "copy", path)
    check_hole(path, FRAME)


def check_hole(path, slack):
    audio, reader = read(path)
    assert abs(audio.shape[1] - 3 * 48000) <= slack + 1152
    assert abs(click_at(audio, 48000) - 2.4) * 48000 <= slack
    assert len(reader.notes) == 1
    assert "of silence fill holes in the time stamps at 0.8" in reader.notes[0]
    begin, end = round(1.0 * 48000), round(1.8 * 48000)
    assert np.abs(audio[:, begin:end]).max() == 0
    assert np.abs(audio[:, end + 9600 :]).max() > 0


@pytest.mark.parametrize(
    ("suffix", "video", "codec"),
    [("mkv", "mpeg4", "aac"), ("mp4", "mpeg4", "aac"), ("mov", "mpeg4", "aac"), ("ts", "mpeg2video", "mp2"),
     ("webm", "libvpx", "libopus"), ("mkv", "mpeg4", "flac"), ("mov", "mpeg4", "pcm_s16le")],
)  # fmt: skip
@pytest.mark.parametrize("late", [0.35, 1.25])
def test_sound_that_begins_after_the_picture_keeps_its_place(tmp_path, source, suffix, video, codec, late):
    path = tmp_path / f"x.{suffix}"
    ffmpeg(*VIDEO, "-itsoffset", late, "-i", source, "-c:v", video, "-c:a", codec, "-muxpreload", "0", path)
    audio, reader = read(path)
    assert abs(click_at(audio, 48000) - 2.4 - late) * 48000 <= 1300
    assert abs(audio.shape[1] / 48000 - 3 - late) < 0.06
    assert any("after the start: silence is put before it" in note for note in reader.notes)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_sound_that_begins_before_the_picture(tmp_path, source, suffix):
    path = tmp_path / f"x.{suffix}"
    ffmpeg("-itsoffset", "0.4", *VIDEO, "-i", source, "-map", "0:v", "-map", "1:a", "-c:a", "aac", path)
    audio, reader = read(path)
    assert abs(click_at(audio, 48000) - 2.4) * 48000 <= FRAME
    assert reader.notes == []


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mka"])
def test_the_default_track_of_several(tmp_path, suffix):
    one = write(tmp_path / "1.wav", rate=48000, channels=1, seconds=1)
    two = write(tmp_path / "2.wav", rate=48000, channels=2, seconds=1, click=0.3)
    path = tmp_path / f"x.{suffix}"
    ffmpeg(
        "-i", one, "-i", two, "-map", "0", "-map", "1", "-c:a", "aac", "-metadata:s:a:1", "language=fra",
        "-disposition:a:0", "0", "-disposition:a:1", "default", path,
    )  # fmt: skip
    audio, reader = read(path)
    assert reader.info.channels == 2
    assert click_at(audio, 48000) == pytest.approx(0.3, abs=0.03)
    assert reader.notes[0] == "2 audio streams; the default, stream 1 (fra), is used; --stream N takes another"
    audio, reader = read(path, stream=0)
    assert reader.info.channels == 1
    assert click_at(audio, 48000) == pytest.approx(CLICK, abs=0.03)
    assert reader.notes == []
    with pytest.raises(AudioError, match="has 2 audio streams, got stream 2"):
        AudioReader(path, 2)


@pytest.mark.parametrize("stream", [1, -1])
def test_a_stream_that_is_not_there(tmp_path, source, stream):
    ffmpeg("-i", source, "-c:a", "aac", tmp_path / "x.m4a")
    for path in (source, tmp_path / "x.m4a"):
        with pytest.raises(AudioError, match=f"has 1 audio stream, got stream {stream}"):
            AudioReader(path, stream)


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_an_edit_list_cuts(tmp_path, source, codec):
    ffmpeg("-i", source, "-c:a", codec, tmp_path / "x.m4a")
    ffmpeg("-ss", "0.5", "-i", tmp_path / "x.m4a", "-c", "copy", tmp_path / "y.m4a")
    audio, _ = read(tmp_path / "y.m4a")
    assert abs(audio.shape[1] / 48000 - 2.5) <= 0.09
    assert abs(click_at(audio, 48000) - (audio.shape[1] / 48000 - 0.6)) <= 0.003


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "alac", "ac3"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_the_encoder_s_delay_and_padding_are_no_sound(tmp_path, codec, suffix):
    path = write(tmp_path / "x.wav", rate=44100, channels=2, seconds=1.03)
    if (codec, suffix) == ("alac", "mp4"):
        suffix = "m4a"
    ffmpeg("-i", path, "-c:a", codec, tmp_path / f"x.{suffix}")
    audio, reader = read(tmp_path / f"x.{suffix}")
    exact = codec != "ac3"
    assert abs(audio.shape[1] - round(1.03 * 44100)) <= (0 if exact else 1536)
    assert abs(click_at(audio, 44100) - CLICK) <= (0.001 if exact else 0.006)
    assert reader.notes == []


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_joined_recordings_whose_clock_begins_anew(tmp_path, source, codec):
    ffmpeg("-i", source, "-c:a", codec, tmp_path / "x.ts")
    data = (tmp_path / "x.ts").read_bytes()
    (tmp_path / "y.ts").write_bytes(data * 2)
    audio, reader = read(tmp_path / "y.ts")
    assert abs(audio.shape[1] / 48000 - 6) < 0.15
    assert click_at(audio, 48000, start=3.2) == pytest.approx(5.4, abs=0.1)
    assert any("the time stamps jump by" in note for note in reader.notes)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, source):
    ffmpeg("-i", source, "-c:a", "aac", tmp_path / "x.m4a")
    (tmp_path / "x.m4a").rename(tmp_path / "rtp: 12:30.m4a")
    assert read(tmp_path / "rtp: 12:30.m4a")[0].shape == (1, 3 * 48000)


@pytest.mark.parametrize("suffix", ["m4a", "mkv", "ogg", "mp3", "ts", "wma", "flac", "wav"])
def test_the_length_is_known_before_decoding(tmp_path, source, suffix):
    ffmpeg("-i", source, tmp_path / f"x.{suffix}")
    data = (tmp_path / f"x.{suffix}").read_bytes()
    with AudioReader(tmp_path / f"x.{suffix}") as reader:
        assert reader.seconds == pytest.approx(3, abs=0.1)
    if suffix in ("ogg", "mp3"):
        (tmp_path / f"x.{suffix}").write_bytes(data * 3)
        with AudioReader(tmp_path / f"x.{suffix}") as reader:
            assert reader.seconds == pytest.approx(9, abs=0.3)
