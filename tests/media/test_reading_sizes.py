"""PCM files whose sizes are wrong in every way there is: the whole sound, or an error that says what is missing."""

import io
import struct

import numpy as np
import pytest
import soundfile
from sound import CLICK, click_at, ffmpeg, read, run, sound, write

from exdiff.audio import AudioReader
from exdiff.audio.reading.iff import aiff_parts, caf_part
from exdiff.core.errors import AudioError

SECONDS = 0.9
FRAMES = round(SECONDS * 44100)
WHOLE = sound(SECONDS).T.astype(np.float32)


def wav(tmp_path, subtype="PCM_16"):
    return bytearray(write(tmp_path / "x.wav", subtype=subtype, seconds=SECONDS).read_bytes())


def put(data, riff, size, order="<"):
    at = data.index(b"data") + 4
    data[4:8] = struct.pack(order + "I", riff & 0xFFFFFFFF)
    data[at : at + 4] = struct.pack(order + "I", size & 0xFFFFFFFF)
    return data


def check_whole(path, data, *, atol=0.0, notes=None):
    path.write_bytes(data)
    audio, reader = read(path)
    np.testing.assert_allclose(audio, WHOLE, atol=atol)
    if notes is not None:
        assert len(reader.notes) == notes, reader.notes
    return reader


@pytest.mark.parametrize("riff", [0, 0x7FFFFFFF, 0xFFFFFFFF, 36])
@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000, 44100, 8])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_with_wrong_sizes(tmp_path, riff, size, subtype):
    check_whole(tmp_path / "x.wav", put(wav(tmp_path, subtype), riff, size), notes=int(size < 0x7FFF0000))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_chunks_behind_sound_of_unknown_size_are_no_sound(tmp_path, size):
    tail = b"LIST" + struct.pack("<I", 16) + b"INFOISFT\x04\0\0\0abc\0" + b"iXML" + struct.pack("<I", 4) + b"<a/>"
    check_whole(tmp_path / "x.wav", put(wav(tmp_path), 0, size) + tail if not size else put(wav(tmp_path), 0, 0) + tail)


@pytest.mark.parametrize("padding", [b"", b"\0"])
@pytest.mark.parametrize("name", [b"LIST", b"bext", b"zzzz", b"data"[::-1]])
def test_odd_chunks_before_the_sound(tmp_path, name, padding):
    data = wav(tmp_path)
    at = data.index(b"data")
    check_whole(tmp_path / "x.wav", data[:at] + name + struct.pack("<I", 7) + b"abcdefg" + padding + data[at:], notes=0)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"id3 \x05\0\0\0abcde", b"LIST\x04\0\0\0INFO", b"\0" * 5])
def test_what_stands_behind_the_sound(tmp_path, tail):
    check_whole(tmp_path / "x.wav", wav(tmp_path) + tail, notes=0)


def test_zeros_behind_a_right_header_are_left_out_with_a_line(tmp_path):
    for name, format in (("x.wav", "WAV"), ("x.w64", "W64"), ("x.au", "AU")):
        data = write(tmp_path / name, format=format, seconds=SECONDS).read_bytes()
        reader = check_whole(tmp_path / name, data + bytes(3000), notes=1)
        assert reader.notes == ["3000 zero bytes behind the sound are left out"]


def test_joined_wavs(tmp_path):
    data = wav(tmp_path)
    (tmp_path / "x.wav").write_bytes(data + write(tmp_path / "y.wav", seconds=1.4, seed=1).read_bytes() + data)
    audio, reader = read(tmp_path / "x.wav")
    assert audio.shape == (2, 2 * FRAMES + round(1.4 * 44100))
    np.testing.assert_array_equal(audio[:, -FRAMES:], WHOLE)
    assert reader.notes == ["3 files joined: all are read"]


@pytest.mark.parametrize("name", ["RF64", "BW64"])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFFFFFFFFFF, 20000])
def test_rf64_and_bw64(tmp_path, name, size):
    data = bytearray(write(tmp_path / "x.wav", format="RF64", seconds=SECONDS).read_bytes())
    data[:4] = name.encode()
    assert data[12:16] == b"ds64"
    if size is not None:
        data[28:36] = struct.pack("<Q", size)
    reader = check_whole(tmp_path / "x.wav", data) if size != 0xFFFFFFFFFFFFFFFF else None
    if reader is not None:
        assert reader.info.container == "rf64"
        assert bool(reader.notes) == (size in (0, 20000))
    else:
        (tmp_path / "x.wav").write_bytes(data)
        with pytest.raises(AudioError, match=r"truncated|damaged"):
            read(tmp_path / "x.wav")


@pytest.mark.parametrize("size", [0, 24, 30000, 0xFFFFFFFFFFFFFFFF])
def test_w64(tmp_path, size):
    data = bytearray(write(tmp_path / "x.w64", format="W64", seconds=SECONDS).read_bytes())
    at = data.index(b"data") + 16
    data[at : at + 8] = struct.pack("<Q", size)
    assert check_whole(tmp_path / "x.w64", data).info.container == "w64"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("frames", "size"), [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0, 0x7FFFFFFF), (5, 28)])
def test_aiff_and_aifc(tmp_path, subtype, frames, size):
    data = bytearray(write(tmp_path / "x.aiff", format="AIFF", subtype=subtype, seconds=SECONDS).read_bytes())
    at, comm = data.index(b"SSND") + 4, data.index(b"COMM") + 10
    data[4:8] = bytes(4)
    data[at : at + 4], data[comm : comm + 4] = struct.pack(">I", size), struct.pack(">I", frames)
    reader = check_whole(tmp_path / "x.aiff", data)
    assert reader.info.codec == {"PCM_16": "pcm_s16be", "PCM_24": "pcm_s24be", "FLOAT": "pcm_f32be"}[subtype]


@pytest.mark.parametrize("size", [0, 4, 20000, 0xFFFFFFFFFFFFFFFF])
def test_caf(tmp_path, size):
    data = bytearray(write(tmp_path / "x.caf", format="CAF", seconds=SECONDS).read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 8] = struct.pack(">Q", size)
    check_whole(tmp_path / "x.caf", data)


@pytest.mark.parametrize("size", [0, 1000, 0xFFFFFFFF])
def test_au(tmp_path, size):
    data = bytearray(write(tmp_path / "x.au", format="AU", seconds=SECONDS).read_bytes())
    data[8:12] = struct.pack(">I", size)
    check_whole(tmp_path / "x.au", data)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "caf", "au", "w64", "flac"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_cut_files_are_refused_and_salvaged(tmp_path, suffix, share):
    path = write(tmp_path / f"x.{suffix}", seconds=SECONDS)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError, match=r"ends after .* of 0\.90 s"):
        read(path)
    audio, reader = read(path, salvage=True)
    (start, length) = reader.missing[-1]
    assert start == pytest.approx(audio.shape[1] / 44100)
    assert start + length == pytest.approx(SECONDS, abs=1e-4)
    assert audio.shape[1] >= 0.6 * share * FRAMES
    np.testing.assert_array_equal(audio, WHOLE[:, : audio.shape[1]])


@pytest.mark.parametrize("order", [("<", "RIFF"), (">", "RIFX")])
def test_the_other_byte_order(tmp_path, order):
    soundfile.write(tmp_path / "x.wav", sound(SECONDS), 44100, endian={"<": "LITTLE", ">": "BIG"}[order[0]])
    data = bytearray((tmp_path / "x.wav").read_bytes())
    assert data[:4] == order[1].encode()
    reader = check_whole(tmp_path / "x.wav", put(data, 0, 0, order[0]), notes=1)
    assert reader.info.codec == f"pcm_s16{'le' if order[0] == '<' else 'be'}"


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "quad", "3.0", "7.1"])
def test_the_mask_is_read(tmp_path, layout):
    ffmpeg("-f", "lavfi", "-i", f"anullsrc=cl={layout}:r=8000:d=0.1", "-c:a", "pcm_s24le", tmp_path / "x.wav")
    with AudioReader(tmp_path / "x.wav") as reader:
        assert len(reader.info.layout) == reader.info.channels
        assert ("SL" in reader.info.layout) == (layout in ("5.1(side)", "7.1"))


def test_files_of_sox(tmp_path):
    write(tmp_path / "x.wav", seconds=SECONDS)
    for suffix in ("aiff", "aifc", "au", "w64", "caf", "wav"):
        run("sox", tmp_path / "x.wav", tmp_path / f"y.{suffix}")
        np.testing.assert_array_equal(read(tmp_path / f"y.{suffix}")[0], WHOLE)


@pytest.mark.parametrize("coding", ["pcm_mulaw", "pcm_alaw", "adpcm_ms", "adpcm_ima_wav", "gsm_ms", "libmp3lame"])
def test_other_codings_in_wav(tmp_path, coding, capfd):
    write(tmp_path / "x.wav", seconds=SECONDS, rate=8000, channels=1)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", coding, tmp_path / "y.wav")
    audio, reader = read(tmp_path / "y.wav")
    assert abs(audio.shape[1] - SECONDS * 8000) <= 1536
    assert abs(click_at(audio, 8000) - CLICK) <= 0.15
    assert reader.info.bits == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("rate", "channels"), [(4_000_000_000, 2), (3, 2), (44100, 60000)])
def test_absurd_headers(tmp_path, rate, channels):
    data = wav(tmp_path)
    data[22:28] = struct.pack("<HI", channels, rate)
    data[32:34] = struct.pack("<H", channels * 2 & 0xFFFF)
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(AudioError) as caught:
        read(tmp_path / "x.wav")
    assert "\n" not in str(caught.value)


class Once(io.RawIOBase):
    """A pipe: it cannot go back."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(memoryview(buffer)[:1000])


@pytest.mark.parametrize("suffix", ["wav", "flac", "w64", "aiff", "au"])
@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_a_pipe_is_read_whole(tmp_path, suffix, seconds):
    data = write(tmp_path / f"x.{suffix}", seconds=seconds, click=None).read_bytes()
    audio, reader = read(io.BufferedReader(Once(data)))
    np.testing.assert_array_equal(audio, sound(seconds, click=None).T.astype(np.float32))
    assert reader.info.bits == 16
    audio, _ = read(io.BytesIO(data))
    np.testing.assert_array_equal(audio, sound(seconds, click=None).T.astype(np.float32))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_pipe_that_breaks_off(tmp_path, suffix):
    data = write(tmp_path / f"x.{suffix}", seconds=3).read_bytes()
    with pytest.raises(AudioError, match="truncated|damaged"):
        read(Once(data[: len(data) * 2 // 3]))


def test_a_wav_of_unknown_length_in_a_pipe(tmp_path):
    write(tmp_path / "x.wav", seconds=3)
    data = put(bytearray((tmp_path / "x.wav").read_bytes()), 0xFFFFFFFF, 0xFFFFFFFF)
    assert read(Once(data))[0].shape == (2, 3 * 44100)


def test_raw_pcm(tmp_path):
    audio = sound(3)
    data = (audio * 32768).astype("<i2").tobytes()
    with AudioReader(Once(data), raw=("s16le", 44100, 2)) as reader:
        got = np.concatenate(list(reader.blocks(0.4)), axis=1)
        assert (reader.info.bits, reader.info.container, reader.seconds) == (16, "raw", None)
    np.testing.assert_array_equal(got, audio.T.astype(np.float32))
    with pytest.raises(AudioError):
        AudioReader(io.BytesIO(data), raw=("nonsense", 44100, 2))


@pytest.mark.parametrize("rest", [1, 3])
@pytest.mark.parametrize("seconds", [0.2, 2.0])
def test_raw_pcm_that_ends_within_a_sample(rest, seconds):
    data = (sound(seconds, click=None) * 32768).astype("<i2").tobytes() + bytes(rest)
    with pytest.raises(AudioError, match=f"ends within a sample: {rest} of 4 bytes"):
        read_raw(data)
    audio, reader = read_raw(data, salvage=True)
    assert audio.shape[1] == round(seconds * 44100)
    assert len(reader.missing) == 1


def read_raw(data, salvage=False):
    with AudioReader(Once(data), raw=("s16le", 44100, 2), salvage=salvage) as reader:
        return np.concatenate(list(reader.blocks(0.4)), axis=1), reader


@pytest.mark.parametrize("split", [20000, 39998, 20001])
def test_several_data_chunks(tmp_path, split):
    data = bytes(wav(tmp_path))
    at = data.index(b"data")
    body = data[at + 8 :]
    split *= 4 if split * 4 < len(body) else 1
    split -= split % 4
    parts = b"".join(b"data" + struct.pack("<I", len(part)) + part for part in (body[:split], body[split:]))
    reader = check_whole(tmp_path / "x.wav", data[:at] + parts)
    assert reader.notes == ["2 data chunks: all are read"]


@pytest.mark.parametrize(("offset", "value"), [(16, 0xFFFFFFFFFFFFFFF0), (40, 0x7FFFFFFFFFFFFFF0), (56, 1 << 63)])
def test_w64_sizes_that_no_file_has(tmp_path, offset, value):
    data = bytearray(write(tmp_path / "x.w64", format="W64", seconds=SECONDS).read_bytes())
    data[offset : offset + 8] = struct.pack("<Q", value)
    (tmp_path / "x.w64").write_bytes(data)
    try:
        audio, _ = read(tmp_path / "x.w64")
        np.testing.assert_array_equal(audio, WHOLE)
    except AudioError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("value", [0x80000000, 0xFFFFFFF0, 0x7FFFFFFF, 0x90000001])
def test_impossible_sizes_in_aiff_of_another_coding(tmp_path, value, capfd):
    """libsndfile seeks to places that no file has."""
    data = write(tmp_path / "x.aiff", subtype="IMA_ADPCM", rate=8000, channels=1).read_bytes()
    for offset in range(16, 84, 2):
        changed = bytearray(data)
        changed[offset : offset + 4] = struct.pack(">I", value)
        (tmp_path / "x.aiff").write_bytes(changed)
        try:
            read(tmp_path / "x.aiff")
        except AudioError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("part", [aiff_parts, caf_part])
def test_silence_is_not_searched_for_chunks_to_its_end(part):
    """A size of 0 where the chunk with the format comes behind, or is missing."""
    reads = []

    class Counted(io.BytesIO):
        def read(self, *count):
            reads.append(count)
            return super().read(*count)

    head = b"caff\0\1\0\0" if part is caf_part else b"FORM\0\0\0\0AIFFSSND\0\0\0\0"
    assert part(Counted(head + bytes(2_000_000))) is None
    assert len(reads) <= 10_001
