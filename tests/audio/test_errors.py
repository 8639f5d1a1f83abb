"""Files that cannot be used are refused with one clear line, and failed writing leaves nothing behind."""

import os
import struct
import sys

import av
import numpy as np
import pytest

from exdiff.audio import AudioReader, AudioWriter, decode, encode
from exdiff.audio.tags.metadata import Metadata, read_metadata
from exdiff.core.errors import AudioError

LONG = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 160000)).astype(np.float32)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 40000)).astype(np.float32)


def refuse(path, match, **options):
    with pytest.raises(AudioError, match=match) as caught:
        decode(path, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_audio(tmp_path, capfd):
    (tmp_path / "text.wav").write_text("this is a text, not a sound\n" * 50)
    (tmp_path / "text.mp3").write_text("this is a text, not a sound\n" * 50)
    (tmp_path / "bytes.m4a").write_bytes(os.urandom(3000))
    (tmp_path / "empty.wav").touch()
    for name in ("text.wav", "text.mp3", "bytes.m4a"):
        refuse(tmp_path / name, "not a readable audio or video file|has no audio stream")
    refuse(tmp_path / "empty.wav", "empty")
    refuse(tmp_path / "nowhere.wav", "does not exist")
    refuse(tmp_path, "a folder, not an audio file")
    assert capfd.readouterr().err == "", "libraries stay silent"


def test_no_samples(tmp_path):
    for name in ("none.wav", "none.flac"):
        encode(tmp_path / name, NOISE[:, :0], 8000)
        refuse(tmp_path / name, "holds no samples|empty")  # libsndfile writes nothing at all into an empty FLAC


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(tmp_path, bad):
    import soundfile

    soundfile.write(tmp_path / "x.wav", np.array([0.0, bad, 0.0]), 8000, subtype="FLOAT")
    refuse(tmp_path / "x.wav", "NaN or infinite")
    with pytest.raises(AudioError, match="NaN or infinite"):
        encode(tmp_path / "y.wav", np.array([bad]), 8000)
    assert not (tmp_path / "y.wav").exists()


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "aiff"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_what_was_cut_short(tmp_path, name, share):
    path = tmp_path / f"x.{name}"
    if name == "aiff":
        import soundfile

        soundfile.write(path, NOISE[0], 16000)
    else:
        encode(path, NOISE, 16000)
    decode(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refuse(path, "truncated|not a readable audio|damaged|holds no samples")


LISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile {}\n",
)


@pytest.mark.parametrize("name", ["list.m3u8", "list.M3U", "list.mp4", "list.txt"])
@pytest.mark.parametrize("text", LISTS)
def test_a_list_of_other_files_is_not_read(tmp_path, name, text):
    """A text from somebody else could name any file."""
    encode(tmp_path / "private.mp3", NOISE.repeat(4, axis=1), 16000)
    for place in (f"file://{tmp_path}/private.mp3", "private.mp3", f"{tmp_path}/private.mp3"):
        (tmp_path / name).write_text(text.format(place))
        refuse(tmp_path / name, "a list of other files, which are not read through it")
        assert read_metadata(tmp_path / name) == Metadata()


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_cut_flac_says_where_it_ends(tmp_path, share):
    """Within the second that could not be decoded as a whole, too."""
    encode(tmp_path / "x.flac", np.tile(NOISE, 9)[:, :14000], 16000)
    data = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError) as caught:
        decode(tmp_path / "x.flac")
    end = float(str(caught.value).partition("it ends after ")[2].partition(" s")[0])
    assert share * 14000 / 16000 - 4096 / 16000 <= end <= share * 14000 / 16000


def test_an_mp4_whose_index_comes_first(tmp_path):
    encode(tmp_path / "x.m4a", NOISE.repeat(4, axis=1), 16000)
    with av.open(str(tmp_path / "x.m4a")) as source:
        options = {"movflags": "faststart"}
        with av.open(str(tmp_path / "fast.m4a"), "w", format="ipod", options=options) as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    assert decode(tmp_path / "fast.m4a")[0].shape == (1, 160000)
    data = (tmp_path / "fast.m4a").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(data[: len(data) * 6 // 10])
    refuse(tmp_path / "cut.m4a", "truncated|damaged")


def test_a_wav_from_a_pipe_is_not_truncated(tmp_path):
    encode(tmp_path / "x.wav", NOISE, 16000)
    data = bytearray((tmp_path / "x.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "x.wav").write_bytes(data)
    assert decode(tmp_path / "x.wav")[0].shape == NOISE.shape


def test_a_tag_before_an_mp3_does_not_hide_its_end(tmp_path):
    encode(tmp_path / "x.mp3", NOISE, 16000)
    data = b"ID3\x04\x00\x00\x00\x00\x02\x2c" + bytes(300) + (tmp_path / "x.mp3").read_bytes()
    (tmp_path / "x.mp3").write_bytes(data)
    assert decode(tmp_path / "x.mp3")[0].shape == NOISE.shape
    (tmp_path / "x.mp3").write_bytes(data[:-1000])
    refuse(tmp_path / "x.mp3", "at least 8[67][0-9] bytes are missing")


def test_streams_of_a_container(tmp_path):
    with av.open(str(tmp_path / "x.mp4"), "w") as target:
        streams = [target.add_stream("aac", rate=16000, layout="mono") for _ in range(2)]
        for level, stream in zip((0.1, 0.4), streams, strict=True):
            samples = (level * np.sin(np.arange(16000) / 10)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                target.mux(packet)
    peaks = [np.abs(decode(tmp_path / "x.mp4", stream=i)[0]).max() for i in range(2)]
    assert peaks == pytest.approx([0.1, 0.4], rel=0.1)
    refuse(tmp_path / "x.mp4", "has 2 audio streams, got stream 2", stream=2)
    encode(tmp_path / "x.wav", NOISE, 16000)
    refuse(tmp_path / "x.wav", "has 1 audio stream", stream=1)


def test_a_film_without_sound(tmp_path):
    with av.open(str(tmp_path / "x.mp4"), "w") as target:
        stream = target.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)
    refuse(tmp_path / "x.mp4", "has no audio stream")


@pytest.mark.parametrize("name", ["x.wav", "x.m4a", "x.ogg"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_or_interrupted_write_leaves_what_was_there(tmp_path, name, error):
    (tmp_path / name).write_text("before")
    with pytest.raises(error), AudioWriter(tmp_path / name, 16000, 1) as writer:
        writer.write(NOISE)
        raise error
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "before"


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for a full disk")
@pytest.mark.parametrize("short", [1, 100, 600, 3000])
@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3", "x.ogg", "x.opus", "x.m4a"])
def test_a_disk_that_fills_at_the_end_of_a_file(tmp_path, name, short):
    import resource

    encode(tmp_path / name, LONG, 16000)
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - short, limits[1]))
    try:
        with pytest.raises(AudioError, match="cannot write"):
            encode(tmp_path / name, LONG, 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "before"


def test_finished_is_all_but_the_name(tmp_path):
    with AudioWriter(tmp_path / "x.wav", 16000, 1) as writer:
        writer.write(NOISE)
        writer.finish()
        assert not (tmp_path / "x.wav").exists()
    got, _ = decode(tmp_path / "x.wav")
    assert got.shape[-1] == NOISE.shape[-1]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("file/x.wav", "file/x.m4a"):
        with pytest.raises(AudioError, match="cannot write"):
            AudioWriter(tmp_path / name, 16000, 1)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(AudioError, match="cannot write"):
        encode(tmp_path / "folder.wav", NOISE, 16000)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that takes no files, not even the superuser's")
@pytest.mark.parametrize("name", ["x.wav", "x.mp3", "x.m4a"])
def test_the_system_s_reason_is_said(name):
    with pytest.raises(AudioError, match=f"cannot write /proc/self/{name}: No such file or directory$"):
        AudioWriter(f"/proc/self/{name}", 16000, 1)


def test_formats_and_channels_that_do_not_exist(tmp_path):
    with pytest.raises(AudioError, match="unknown format 'wma'"):
        AudioWriter(tmp_path / "x.wma", 16000, 1)
    with pytest.raises(AudioError, match="mp3 holds 1 to 2 channels, got 5"):
        AudioWriter(tmp_path / "x.mp3", 16000, 5)
    with (
        pytest.raises(AudioError, match="has 2 channels, got a block of 1"),
        AudioWriter(tmp_path / "x.wav", 16000, 2) as writer,
    ):
        writer.write(NOISE)
    assert os.listdir(tmp_path) == []


def test_closing_the_reader_releases_the_file(tmp_path):
    encode(tmp_path / "x.wav", NOISE, 16000)
    reader = AudioReader(tmp_path / "x.wav")
    reader.close()
    with pytest.raises((AudioError, RuntimeError)):
        next(reader.blocks())
