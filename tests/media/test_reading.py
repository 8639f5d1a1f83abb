"""Compressed files whose headers cannot be believed: all of the sound comes back, in its place."""

import struct
import time

import numpy as np
import pytest
from sound import CLICK, click_at, ffmpeg, read, run, sound, write

from exdiff.audio import AudioReader
from exdiff.audio.reading.ogg import checksum
from exdiff.core.errors import AudioError

FRAME = 1152  # samples of an MP3 frame
ID3V2 = b"ID3\x04\x00\x00\x00\x00\x03\x10" + bytes(400)
ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 43, 1, 0xA0000000)
APE += (
    struct.pack("<II", 1, 0) + b"a\0b".ljust(1, b"\0") + b"APETAGEX" + struct.pack("<IIII8x", 2000, 43, 1, 0x80000000)
)


@pytest.fixture
def lame(tmp_path):
    """`lame(name, *options)` -> the path of an MP3 of the sound; more keywords go to `sound`."""

    def make(name, *options, **kind):
        write(tmp_path / f"{name}.wav", **kind)
        run("lame", "--quiet", *options, tmp_path / f"{name}.wav", tmp_path / name)
        return tmp_path / name

    return make


def check_lossy(path, seconds, slack, *, rate=44100, notes=0):
    audio, reader = read(path)
    assert reader.info.sample_rate == rate
    assert abs(audio.shape[1] - round(seconds * rate)) <= slack
    assert abs(click_at(audio, rate, end=1.0) - CLICK) * rate <= max(slack, 0.002 * rate)
    assert len(reader.notes) == notes, reader.notes
    assert reader.missing == []
    return audio


@pytest.mark.parametrize(
    "options", [["-b", "128"], ["-V", "6", "--resample", "44.1"], ["--abr", "110"], ["-V", "0", "-m", "m"]]
)
def test_mp3_with_a_lame_header_is_exact(lame, options):
    check_lossy(lame("x.mp3", *options, seconds=1.1), 1.1, 0)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 32000, 48000])
def test_mp3_of_every_generation_without_a_xing_header_is_read_to_its_end(lame, rate):
    path = lame("x.mp3", "-V", "5", "-t", seconds=3, rate=rate)
    check_lossy(path, 3, 2 * FRAME, rate=rate)


def test_mp3_whose_first_second_is_costly(tmp_path):
    """The number of frames guessed from the first ones is far too small."""
    audio = sound(4)
    audio[: 44100 // 2] += np.random.default_rng(0).uniform(-0.5, 0.5, (44100 // 2, 2))
    import soundfile

    soundfile.write(tmp_path / "x.wav", audio, 44100)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "libmp3lame", "-q:a", "3", "-write_xing", "0", tmp_path / "x.mp3")
    got, _ = read(tmp_path / "x.mp3")
    assert abs(got.shape[1] - 4 * 44100) <= 2 * FRAME


@pytest.mark.parametrize("front", [b"", ID3V2, ID3V2 + ID3V2, bytes(700)], ids=["", "id3", "id3x2", "zeros"])
@pytest.mark.parametrize("back", [b"", ID3V1, APE, APE + ID3V1], ids=["", "id3v1", "ape", "both"])
def test_tags_around_an_mp3_are_no_sound(lame, front, back):
    path = lame("x.mp3", "-V", "5", seconds=1)
    path.write_bytes(front + path.read_bytes() + back)
    check_lossy(path, 1, 0)


def test_a_cover_in_an_mp3(lame, tmp_path):
    path = lame("x.mp3", "-V", "5", seconds=1)
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", tmp_path / "c.png")
    ffmpeg("-i", path, "-i", tmp_path / "c.png", "-map", "0", "-map", "1", "-c", "copy", tmp_path / "y.mp3")
    check_lossy(tmp_path / "y.mp3", 1, 0)


def test_the_free_format(lame):
    check_lossy(lame("x.mp3", "--freeformat", "-b", "210", seconds=1), 1, 2 * FRAME)


@pytest.mark.parametrize(("first", "second"), [("-V5", "-V5"), ("-b160", "-V2"), ("-tV4", "-tV6"), ("-V5", "-tV5")])
def test_joined_mp3s_are_read_whole(lame, first, second):
    one = lame("one.mp3", *_split(first), seconds=1.0)
    two = lame("two.mp3", *_split(second), seconds=1.3)
    one.write_bytes(one.read_bytes() + ID3V1 + ID3V2 + two.read_bytes())
    audio, reader = read(one)
    slack = 0 if "t" not in first + second else 3 * FRAME
    assert 0 <= audio.shape[1] - round(2.3 * 44100) <= slack
    assert abs(click_at(audio, 44100, start=1.2) - 1 - CLICK) * 44100 <= max(slack, 90)
    assert bool(reader.notes) == ("t" not in first)


def _split(options):
    return ["-t", options.replace("t", "", 1)] if "t" in options else [options]


def test_an_mp3_that_is_longer_than_its_xing_header_says(lame):
    path = lame("x.mp3", "-V", "5", seconds=2)
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 8 : at + 16] = struct.pack(">II", 30, 9000)
    path.write_bytes(data)
    audio, reader = read(path)
    assert 0 <= audio.shape[1] - 2 * 44100 <= FRAME
    assert "says 0.7" in reader.notes[0] and "all is read" in reader.notes[0]


def test_an_mp3_with_a_hole_is_refused_and_salvaged(lame):
    path = lame("x.mp3", "-b", "128", seconds=2)
    data = path.read_bytes()
    middle = len(data) * 3 // 4
    path.write_bytes(data[:middle] + b"\x33" * 2000 + data[middle + 2000 :])
    with pytest.raises(AudioError, match=r"damaged: \d+ bytes after 1\.\d+ s are not mp3"):
        read(path)
    audio, reader = read(path, salvage=True)
    assert 1.7 * 44100 < audio.shape[1] < 2 * 44100
    assert 1.3 < reader.missing[0][0] < 1.6
    assert 0.05 < reader.missing[0][1] < 0.3


@pytest.mark.parametrize(("kind", "name"), [({"rate": 32000}, "rate"), ({"channels": 1}, "channels")])
def test_a_joined_mp3_of_another_kind_is_an_error(lame, kind, name):
    one, two = lame("one.mp3", "-b", "128", seconds=1), lame("two.mp3", "-b", "112", seconds=1, **kind)
    one.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(AudioError, match=r"changes from 2 channels at 44100 Hz to .* after 1\.00 s"):
        read(one)
    audio, reader = read(one, salvage=True)
    assert audio.shape == (2, 44100)
    assert reader.missing == [(pytest.approx(1.0), pytest.approx(1.0, abs=0.1))]


@pytest.mark.parametrize("front", [b"", ID3V2], ids=["", "id3"])
@pytest.mark.parametrize("times", [1, 3])
def test_adts_and_joined_adts(tmp_path, front, times):
    write(tmp_path / "x.wav", seconds=1)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "aac", "-b:a", "100k", tmp_path / "x.aac")
    data = (tmp_path / "x.aac").read_bytes()
    (tmp_path / "y.aac").write_bytes(front + data * times + ID3V1)
    audio, reader = read(tmp_path / "y.aac")
    assert 0 <= audio.shape[1] - times * 44100 <= times * 2048
    assert abs(click_at(audio, 44100, end=1) - CLICK) * 44100 <= 1100
    assert (reader.info.container, reader.info.codec) == ("adts", "aac")


@pytest.mark.parametrize("suffix", ["aac", "ts"])
def test_aac_that_changes_from_stereo_to_mono(tmp_path, suffix):
    for name, channels in (("a", 2), ("b", 1)):
        write(tmp_path / f"{name}.wav", seconds=1, channels=channels)
        ffmpeg("-i", tmp_path / f"{name}.wav", "-c:a", "aac", "-muxdelay", "0", tmp_path / f"{name}.{suffix}")
    path = tmp_path / f"ab.{suffix}"
    path.write_bytes(b"".join((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab"))
    with pytest.raises(AudioError, match=r"changes from 2 channels at 44100 Hz to 1 at 44100 Hz after 1\.0"):
        read(path)
    audio, reader = read(path, salvage=True)
    assert audio.shape[0] == 2
    assert abs(audio.shape[1] - 44100) < 3000
    assert reader.missing[0][1] == pytest.approx(1.0, abs=0.1)


OGG = {"ogg": ["libvorbis"], "opus": ["libopus"], "oga": ["flac"]}


def make_ogg(path, codec, serial, **kind):
    write(path.with_suffix(".wav"), rate=48000, **kind)
    ffmpeg("-i", path.with_suffix(".wav"), "-c:a", codec, "-serial_offset", serial, path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", OGG)
def test_every_link_of_an_ogg_chain_is_read(tmp_path, suffix):
    parts = [
        make_ogg(tmp_path / f"{number}.{suffix}", OGG[suffix][0], 100 * number, seconds=seconds)
        for number, seconds in enumerate((0.7, 1.0, 0.65))
    ]
    (tmp_path / f"x.{suffix}").write_bytes(b"".join(parts))
    audio, reader = read(tmp_path / f"x.{suffix}")
    assert audio.shape == (2, round(2.35 * 48000))
    for begin in (0, 0.7, 1.7):
        assert click_at(audio, 48000, begin, begin + 0.65) == pytest.approx(begin + CLICK, abs=0.002)
    assert "3 links" in reader.notes[0]


@pytest.mark.parametrize("suffix", ["ogg", "oga"])
def test_an_ogg_chain_that_changes(tmp_path, suffix):
    parts = [
        make_ogg(tmp_path / f"{number}.{suffix}", OGG[suffix][0], number, seconds=0.7, channels=number)
        for number in (2, 1)
    ]
    (tmp_path / f"x.{suffix}").write_bytes(b"".join(parts))
    with pytest.raises(AudioError, match="changes from 2 channels at 48000 Hz to 1 at 48000 Hz after 0.70 s"):
        read(tmp_path / f"x.{suffix}")


@pytest.mark.parametrize("program", ["oggenc", "opusenc", "flac"])
def test_files_of_the_reference_encoders(tmp_path, program):
    write(tmp_path / "x.wav", rate=48000, seconds=1.1)
    arguments = {
        "oggenc": ["-Q", tmp_path / "x.wav", "-o", tmp_path / "y"],
        "opusenc": ["--quiet", tmp_path / "x.wav", tmp_path / "y"],
        "flac": ["-s", "--ogg", "-f", tmp_path / "x.wav", "-o", tmp_path / "y"],
    }
    run(program, *arguments[program])
    audio, reader = read(tmp_path / "y")  # no suffix: the content decides
    assert audio.shape == (2, round(1.1 * 48000))
    assert click_at(audio, 48000) == pytest.approx(CLICK, abs=0.001)
    assert reader.notes == []


def test_a_spoilt_page_of_an_ogg_file_is_not_dropped_silently(tmp_path):
    data = bytearray(make_ogg(tmp_path / "x.opus", "libopus", 1, seconds=4, click=3.6))
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    data[pages[3] + 200] ^= 1
    (tmp_path / "x.opus").write_bytes(data)
    with pytest.raises(AudioError, match=f"pages after byte {pages[3]} are missing"):
        read(tmp_path / "x.opus")
    audio, reader = read(tmp_path / "x.opus", salvage=True)
    assert abs(audio.shape[1] - 4 * 48000) <= 1000
    assert click_at(audio, 48000) == pytest.approx(3.6, abs=0.02)
    start, length = reader.missing[0]
    assert 0.9 < start < 1.1
    assert 0.5 < length < 1.2


def test_joined_flac_files(tmp_path):
    parts = [write(tmp_path / f"{n}.flac", seconds=n).read_bytes() for n in (1, 2)]
    (tmp_path / "x.flac").write_bytes(parts[0] + parts[1])
    audio, reader = read(tmp_path / "x.flac")
    assert audio.shape == (2, 3 * 44100)
    np.testing.assert_array_equal(audio[:, 44100:], sound(2).T.astype(np.float32))
    assert reader.notes == ["2 files joined: all are read"]


def test_flac_of_unknown_length_and_flac_with_tags_around(tmp_path):
    data = bytearray(write(tmp_path / "x.flac", seconds=1).read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "y.flac").write_bytes(ID3V2 + data + ID3V1)
    audio, _ = read(tmp_path / "y.flac")
    np.testing.assert_array_equal(audio, sound(1).T.astype(np.float32))


def test_the_md5_sum_of_a_flac_file_is_a_witness(tmp_path):
    data = bytearray(write(tmp_path / "x.flac", seconds=1).read_bytes())
    data[30] ^= 1
    (tmp_path / "x.flac").write_bytes(data)
    with pytest.raises(AudioError, match="the MD5 sum of its samples is not that in its header"):
        read(tmp_path / "x.flac")


@pytest.mark.parametrize("suffix", ["ac3", "eac3", "dts", "tta", "wv", "mp2", "wma", "spx", "caf", "au", "w64"])
def test_formats_that_a_folder_may_hold(tmp_path, suffix):
    write(tmp_path / "x.wav", seconds=1.1, rate=48000)
    options = {"dts": ["-strict", "-2"], "spx": ["-ar", "16000"]}.get(suffix, [])
    ffmpeg("-i", tmp_path / "x.wav", *options, tmp_path / f"x.{suffix}")
    audio, reader = read(tmp_path / f"x.{suffix}")
    rate = reader.info.sample_rate
    exact = suffix in {"tta", "wv", "caf", "au", "w64"}
    assert abs(audio.shape[1] / rate - 1.1) <= (0 if exact else 0.05)
    assert abs(click_at(audio, rate) - CLICK) <= (0.0005 if exact else 0.05)
    assert bool(reader.info.bits) == exact


@pytest.mark.parametrize(
    ("codec", "bits"), [("alac", 16), ("alac", 24), ("flac", 24), ("pcm_s24le", 24), ("pcm_s16be", 16)]
)
def test_integers_come_back_as_they_are(tmp_path, codec, bits):
    values = np.random.default_rng(1).integers(-(1 << (bits - 1)), 1 << (bits - 1), (3000, 2))
    import soundfile

    soundfile.write(tmp_path / "x.wav", (values << (32 - bits)).astype(np.int32), 48000, subtype=f"PCM_{bits}")
    depth = ["-sample_fmt", "s32p"] if codec == "alac" and bits == 24 else []
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", codec, *depth, tmp_path / ("x.flac" if codec == "flac" else "x.mov"))
    with AudioReader(tmp_path / ("x.flac" if codec == "flac" else "x.mov")) as reader:
        assert reader.info.bits == bits
        got = np.concatenate(list(reader.exact_blocks(0.02)), axis=1)
    np.testing.assert_array_equal(got, values.T)


def test_lossy_files_have_no_exact_samples(tmp_path, lame):
    with AudioReader(lame("x.mp3", "-V5")) as reader, pytest.raises(AudioError, match="no integer samples"):
        reader.exact_blocks()


@pytest.mark.parametrize("suffix", ["wv", "tta", "ac3"])
@pytest.mark.parametrize(
    "tail",
    [ID3V1, APE, APE + ID3V1, bytes(6000), APE + bytes(6000), b"TAG" + bytes(5000)],
    ids=["id3v1", "ape", "both", "zeros", "ape zeros", "empty id3v1"],
)
def test_what_stands_behind_frames_is_no_sound(tmp_path, suffix, tail):
    write(tmp_path / "x.wav", seconds=0.8, rate=48000)
    ffmpeg("-i", tmp_path / "x.wav", tmp_path / f"x.{suffix}")
    data = (tmp_path / f"x.{suffix}").read_bytes()
    before, _ = read(tmp_path / f"x.{suffix}")
    (tmp_path / f"x.{suffix}").write_bytes(data + tail)
    audio, reader = read(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(audio, before)
    assert len(reader.notes) == (tail[-1000:] == bytes(1000))


@pytest.mark.parametrize("tail", [bytes(5000), ID3V1])
def test_zeros_and_tags_behind_ogg(tmp_path, tail):
    data = make_ogg(tmp_path / "x.ogg", "libvorbis", 3, seconds=0.8)
    (tmp_path / "x.ogg").write_bytes(data + tail)
    assert read(tmp_path / "x.ogg")[0].shape == (2, round(0.8 * 48000))


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_granule_positions_that_are_too_small(tmp_path, suffix):
    """libsndfile and FFmpeg stop where the last page says; the packets say how much there is."""
    data = bytearray(make_ogg(tmp_path / f"x.{suffix}", OGG[suffix][0], 3, seconds=2))
    at = 0
    while at < len(data):
        end = at + 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        granule = struct.unpack("<Q", data[at + 6 : at + 14])[0]
        data[at + 6 : at + 14] = struct.pack("<Q", granule // 3 if granule < 1 << 62 else granule)
        data[at + 22 : at + 26] = struct.pack("<I", checksum(bytes(data[at:end])))
        at = end
    (tmp_path / f"x.{suffix}").write_bytes(data)
    with pytest.raises(AudioError, match=r"its last page says 0\.6\d s, but its packets hold (1\.99|2\.0\d) s"):
        read(tmp_path / f"x.{suffix}")


def test_the_bit_rate_of_ogg(tmp_path):
    for name, codec, rate in (("x.opus", "libopus", 64), ("x.ogg", "libvorbis", 112)):
        write(tmp_path / "x.wav", rate=48000, seconds=3, channels=2)
        ffmpeg("-i", tmp_path / "x.wav", "-c:a", codec, "-b:a", f"{rate}k", tmp_path / name)
        assert 0.5 * rate < read(tmp_path / name)[1].info.bit_rate / 1000 < 1.6 * rate


def test_free_format_that_was_cut_or_spoilt(lame, capfd):
    path = lame("x.mp3", "--freeformat", "-b", "190", seconds=2)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match=r"ends after 0\.9\d s of 2\.00 s \(according to its Xing header\)"):
        read(path)
    audio, reader = read(path, salvage=True)
    assert 0.9 < audio.shape[1] / 44100 < 1.1
    assert reader.missing[0][1] == pytest.approx(1, abs=0.1)
    spoilt = bytearray(data)
    for place in range(5000, len(spoilt), 900):
        spoilt[place] ^= 0x55
    path.write_bytes(spoilt)
    try:
        read(path, salvage=True)
    except AudioError as error:
        assert "\n" not in str(error)
    assert capfd.readouterr().err == ""


def test_dts_in_a_wav_of_a_disc(tmp_path):
    write(tmp_path / "x.wav", seconds=1)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "dca", "-strict", "-2", "-b:a", "1411200", tmp_path / "x.dts")
    data = bytearray((tmp_path / "x.dts").read_bytes())
    data[0::2], data[1::2] = data[1::2], data[0::2]
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16)
    (tmp_path / "y.wav").write_bytes(head + b"data" + struct.pack("<I", len(data)) + data)
    audio, reader = read(tmp_path / "y.wav")
    assert reader.info.codec == "dca"
    assert abs(click_at(audio, 44100) - CLICK) < 0.02


@pytest.mark.parametrize(("suffix", "codec"), [("voc", "pcm_s16le"), ("caf", "alac")])
def test_lengths_that_are_rounded_up(tmp_path, suffix, codec):
    write(tmp_path / "x.wav", seconds=0.77, rate=48000)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", codec, tmp_path / f"x.{suffix}")
    assert read(tmp_path / f"x.{suffix}")[0].shape == (2, round(0.77 * 48000))


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\xfb", b"\x00\xff"])
def test_megabytes_of_junk_behind_an_mp3_take_no_time(lame, junk):
    path = lame("x.mp3", "-V", "5", seconds=1)
    path.write_bytes(path.read_bytes() + junk * (8_000_000 // len(junk)))
    begin = time.monotonic()
    try:
        assert read(path)[0].shape == (2, 44100)
    except AudioError as error:
        assert "are not mp3" in str(error)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("left", [0, 5, 6, 300], ids=lambda left: f"{left} bytes behind it")
@pytest.mark.parametrize(
    ("header", "size"),
    [(b"\xff\xf1\x50\x80\x7d\x1f\xfc", 1000), (b"\xff\xfb\x90\x00", 417), (b"\xff\xfd\x80\x00", 417)],
    ids=["adts", "mp3", "mp2"],
)
def test_headerless_codecs_may_hold_bytes_that_look_like_a_frame(tmp_path, header, size, left):
    """A frame whose end is about the end of the file has none behind it that would deny it."""
    data = bytearray(np.random.default_rng(0).integers(0, 128, 8000, np.uint8).tobytes())
    at = len(data) - size - left
    data[at : at + len(header)] = header
    (tmp_path / "x.g722").write_bytes(data)
    assert read(tmp_path / "x.g722")[0].shape == (1, 16000)


def test_a_codec_without_a_decoder(tmp_path):
    write(tmp_path / "x.wav", seconds=0.7)
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", "pcm_s16le", tmp_path / "x.mov")
    data = (tmp_path / "x.mov").read_bytes()
    assert b"sowt" in data
    (tmp_path / "x.mov").write_bytes(data.replace(b"sowt", b"ac-4"))
    with pytest.raises(AudioError, match=r"FFmpeg has no decoder for its sound|not a readable"):
        read(tmp_path / "x.mov")


@pytest.mark.parametrize("suffix", ["mp3", "aac", "ogg", "flac", "m4a", "mkv", "wav"])
@pytest.mark.parametrize("size", [1, 4, 8, 11, 13, 40, 100])
def test_the_first_bytes_alone(tmp_path, suffix, size, lame):
    path = tmp_path / f"x.{suffix}"
    ffmpeg("-i", write(tmp_path / "y.wav", seconds=0.7), path) if suffix != "wav" else write(path, seconds=0.7)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(AudioError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_granule_positions_that_fall(tmp_path, suffix):
    write(tmp_path / "x.wav", rate=48000, seconds=0.8)
    codec = OGG[suffix][0]
    ffmpeg("-i", tmp_path / "x.wav", "-c:a", codec, "-page_duration", "50000", tmp_path / f"x.{suffix}")
    data = bytearray((tmp_path / f"x.{suffix}").read_bytes())
    at = data.rindex(b"OggS")
    data[at + 6 : at + 14] = struct.pack("<Q", 2000)
    data[at + 22 : at + 26] = struct.pack("<I", checksum(bytes(data[at:])))
    (tmp_path / f"x.{suffix}").write_bytes(data)
    with pytest.raises(AudioError, match=f"the position of the page at byte {at} is lower"):
        read(tmp_path / f"x.{suffix}")
