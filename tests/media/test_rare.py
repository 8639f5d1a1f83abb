"""Codecs and containers that turn up now and then: all of the sound, or a clear error."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile
from checks import Expected, check_sound, find_clicks, read
from faults import ID3V1, RANDOM, ape_tag, id3v2
from make import CLICKS, FRAMES, sound, wave_file
from pages import chained, edit_page, ogg_pages

# File name -> arguments of ffmpeg, all with the sound of two channels at 48 kHz.
RARE = {
    "mp3-in.mp4": "-c:a libmp3lame",
    "opus-in.mp4": "-c:a libopus -strict -2",
    "flac-in.mp4": "-c:a flac -strict -2",
    "ac3-in.mp4": "-c:a ac3",
    "eac3-in.mp4": "-c:a eac3",
    "alac-in.mp4": "-c:a alac",
    "u8.mov": "-c:a pcm_u8",
    "mulaw.mov": "-c:a pcm_mulaw",
    "f32.mov": "-c:a pcm_f32le",
    "f64.mov": "-c:a pcm_f64be",
    "s32.mov": "-c:a pcm_s32le",
    "adpcm.mov": "-c:a adpcm_ima_qt",
    "alac.caf": "-c:a alac",
    "mulaw.caf": "-c:a pcm_mulaw",
    "f32.caf": "-c:a pcm_f32le",
    "ac3.mkv": "-c:a ac3",
    "mp2.mkv": "-c:a mp2",
    "mp3.mkv": "-c:a libmp3lame",
    "dts.mkv": "-c:a dca -strict -2",
    "wavpack.mkv": "-c:a wavpack",
    "alac.mkv": "-c:a alac",
    "s16be.mkv": "-c:a pcm_s16be",
    "f32.mkv": "-c:a pcm_f32le",
    "truehd.mkv": "-c:a truehd -strict -2",
    "lace.mkv": "-c:a libopus -frame_duration 2.5",
    "ac3.avi": "-c:a ac3",
    "mp2.avi": "-c:a mp2",
    "aac.avi": "-c:a aac",
    "mulaw.avi": "-c:a pcm_mulaw",
    "camera.m2ts": "-c:a ac3 -f mpegts -mpegts_m2ts_mode 1",
    "latm.ts": "-c:a aac -mpegts_flags latm",
    "opus.ts": "-c:a libopus",
    "disc.vob": "-c:a ac3 -f vob",
    "tape.mpg": "-c:a mp2",
    "x.nut": "-c:a libvorbis",
    "x.asf": "-c:a wmav2",
    "x.voc": "-c:a pcm_s16le",
    "f64.w64": "-c:a pcm_f64le",
    "s8.aiff": "-c:a pcm_s8",
    "s32.aiff": "-c:a pcm_s32be",
    "alaw.aifc": "-c:a pcm_alaw -f aiff",
    "f64.aifc": "-c:a pcm_f64be -f aiff",
    "mulaw.au": "-c:a pcm_mulaw",
    "s24.au": "-c:a pcm_s24be",
    "f64.au": "-c:a pcm_f64be",
    "x.3g2": "-c:a aac",
    "x.f4v": "-c:a aac",
    "x.wtv": "-c:a mp2",
    "dash.mp4": "-c:a aac -movflags +dash+delay_moov",
    "late-moov.mp4": "-c:a aac -movflags +negative_cts_offsets",
    "negative.mkv": "-c:a libopus -avoid_negative_ts disabled",
    "clusters.mkv": "-c:a aac -cluster_time_limit 50",
    "no-cues.webm": "-c:a libopus -dash 1",
    "short-pages.ogg": "-c:a libvorbis -page_duration 1000",
    "long-pages.opus": "-c:a libopus -page_duration 5000000",
    "frames-60.opus": "-c:a libopus -frame_duration 60",
    "small-frames.flac": "-c:a flac -frame_size 192",
    "adts-crc.aac": "-c:a aac -aac_coder fast",
}


@pytest.mark.parametrize("name", RARE)
def test_plain(maker, put_through, wav, name):
    source = maker.run(name, f"ffmpeg -v error -y -i {{wav}} {RARE[name]} {{out}}", wav=wav)
    run = put_through(source)
    assert run.check() in ("whole", "warning"), run.stderr
    check_sound(run.result, Expected(FRAMES, 48000, 2, CLICKS, late=2600, longer=6000, early=2100, shorter=2048))


@pytest.fixture(scope="module")
def wav(maker):
    return maker.keep("sound.wav", wave_file(sound(2), 48000))


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"RIFF", order: str = "<") -> bytes:
    body = b"WAVE"
    for name, content in chunks:
        body += name + struct.pack(order + "I", len(content)) + content + b"\0" * (len(content) % 2)
    return form + struct.pack(order + "I", len(body)) + body


PCM = np.int16(np.round(sound(2) * 32768))
FMT = struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16)
DEEP = np.int32(np.round(sound(2) * 2**31))
IN_32 = struct.pack("<HHIIHH", 0xFFFE, 2, 48000, 384000, 8, 32)
GUID = bytes.fromhex("0100000000001000800000aa00389b71")
WAVES = {
    "list before fmt": riff((b"LIST", b"INFOIART\4\0\0\0abc\0"), (b"fmt ", FMT), (b"data", PCM.tobytes())),
    "fmt of 18": riff((b"fmt ", FMT + b"\0\0"), (b"data", PCM.tobytes())),
    "big-endian": riff(
        (b"fmt ", struct.pack(">HHIIHH", 1, 2, 48000, 192000, 4, 16)),
        (b"data", PCM.astype(">i2").tobytes()),
        form=b"RIFX",
        order=">",
    ),
    "24 of 32 bits": riff((b"fmt ", IN_32 + struct.pack("<HHI", 22, 24, 3) + GUID), (b"data", DEEP.tobytes())),
    "byte rate 0": riff((b"fmt ", struct.pack("<HHIIHH", 1, 2, 48000, 0, 4, 16)), (b"data", PCM.tobytes())),
    "data in two chunks": riff((b"fmt ", FMT), (b"data", PCM[:12000].tobytes()), (b"data", PCM[12000:].tobytes())),
    "chunk behind, sizes 0": wave_file(sound(2), 48000)[:4]
    + bytes(4)
    + wave_file(sound(2), 48000)[8:40]
    + bytes(4)
    + PCM.tobytes(),
    "large chunk in front": riff((b"fmt ", FMT), (b"JUNK", bytes(200_001)), (b"data", PCM.tobytes())),
    "many chunks": riff((b"fmt ", FMT), *[(b"JUNK", bytes(i)) for i in range(300)], (b"data", PCM.tobytes())),
    "two of them": wave_file(sound(2), 48000) * 2,
    "half a sample behind": riff((b"fmt ", FMT), (b"data", PCM.tobytes() + b"\1\2")),
}


@pytest.mark.parametrize("name", WAVES)
def test_waves(tmp_path, put_through, name):
    source = tmp_path / "x.wav"
    source.write_bytes(WAVES[name])
    run = put_through(source)
    outcome = run.check()
    if name in ("data in two chunks", "two of them"):
        if outcome == "whole":
            assert len(read(run.result)[0]) >= FRAMES * (2 if name == "two of them" else 1), "less without a word"
        return
    assert outcome != "error", run.stderr
    samples = check_sound(run.result, Expected(FRAMES, 48000, 2, CLICKS))
    np.testing.assert_array_equal(samples, sound(2))


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "PCM_24"])
@pytest.mark.parametrize("frames", [1, 2, 7, 100])
@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "caf", "au", "w64"])
def test_very_short(tmp_path, put_through, suffix, frames, subtype):
    if suffix == "flac" and subtype == "FLOAT":
        pytest.skip("FLAC has no floats")
    source = tmp_path / f"x.{suffix}"
    samples = sound(2)[CLICKS[0] : CLICKS[0] + frames]
    soundfile.write(source, samples, 48000, subtype)
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    np.testing.assert_array_equal(read(run.result)[0], samples)


@pytest.mark.parametrize("frames", [1, 100, 1000])
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "opus", "mka", "ac3"])
def test_very_short_and_lossy(maker, put_through, suffix, frames):
    source = maker.keep(f"short-{frames}.wav", wave_file(sound(2)[:frames], 48000))
    run = put_through(maker.run(f"short-{frames}.{suffix}", "ffmpeg -v error -y -i {wav} {out}", wav=source))
    if run.check() != "error":
        assert frames <= len(read(run.result)[0]) <= frames + 4 * 1536


def vbri(data: bytes) -> bytes:
    """A first frame as Fraunhofer's encoder writes it in front of frames of 48 kHz stereo."""
    frames = data.count(b"\xff\xfb")
    head = (
        b"\xff\xfb\x94\x44" + bytes(32) + b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 75, len(data), frames, 1, 1, 2, 1)
    )
    return head.ljust(384, b"\0") + data


MP3S = {
    "VBRI": lambda data: vbri(data),
    "VBRI of half": lambda data: vbri(data[: len(data) // 2]) + data[len(data) // 2 :],
    "two ID3v2": lambda data: id3v2(1000) + id3v2(50000) + data,
    "ID3v2 in the middle": lambda data: data + id3v2(1000) + data,
    "ID3v1 in the middle": lambda data: data + ID3V1 + data,
    "everything": lambda data: id3v2(100000) + ape_tag(True) + data + ape_tag() + ID3V1,
    "70 KB of noise in front": lambda data: bytes(70000) + data,
    "a picture in front": lambda data: b"\xff\xd8\xff\xe0" + bytes(2000) + data,
    "RIFF around": lambda data: (
        b"RIFF" + struct.pack("<I", len(data) + 12) + b"WAVEdata" + struct.pack("<I", len(data)) + data
    ),
    "noise behind": lambda data: data + RANDOM,
    "one frame": lambda data: data[:417],
}


@pytest.mark.parametrize("base", ["mp3 no xing", "mp3", "mp3 lame"])
@pytest.mark.parametrize("name", MP3S)
def test_mp3(tmp_path, maker, put_through, name, base):
    source = tmp_path / "x.mp3"
    source.write_bytes(MP3S[name](maker.file(base).read_bytes()))
    run = put_through(source)
    outcome = run.check()
    if outcome == "whole" and name != "one frame":
        times = 2 if "middle" in name else 1
        samples, _ = read(run.result)
        assert len(find_clicks(samples[:, 0])) == 2 * times, "clicks are missing"
        assert FRAMES * times <= len(samples) <= (FRAMES + 4 * 1152) * times


def late_granules(data: bytes) -> bytes:
    """As cut from a broadcast: counting does not begin at 0."""
    pages = []
    for page in ogg_pages(data):
        granule = struct.unpack("<q", page[6:14])[0]
        pages.append(edit_page(page, granule=granule + 480000) if granule > 0 else page)
    return b"".join(pages)


OGGS = {
    "granules begin late": late_granules,
    "granules of half": lambda data: b"".join(
        edit_page(p, granule=struct.unpack("<q", p[6:14])[0] // 2) for p in ogg_pages(data)
    ),
    "last granule of 1000": lambda data: b"".join(ogg_pages(data)[:-1]) + edit_page(ogg_pages(data)[-1], granule=1000),
    "a link without its start": lambda data: data + b"".join(edit_page(p, serial=9) for p in ogg_pages(data)[1:]),
    "the same serial again": lambda data: data + data,
    "a page twice": lambda data: b"".join([*ogg_pages(data)[:-1], ogg_pages(data)[-2], ogg_pages(data)[-1]]),
    "a page with a wrong checksum": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "junk in front": lambda data: RANDOM[:100] + data,
    "fifty links": lambda data: chained(data, 50),
}


@pytest.mark.parametrize("codec", ["libvorbis", "libopus", "flac"])
@pytest.mark.parametrize("name", OGGS)
def test_ogg(tmp_path, maker, put_through, wav, name, codec):
    """With many short pages: the last granule of a stream of one page is its length, whatever it holds."""
    command = f"ffmpeg -v error -y -i {{wav}} -c:a {codec} -page_duration 50000 {{out}}"
    data = maker.run(f"pages-{codec}.oga", command, wav=wav).read_bytes()
    source = tmp_path / "x.oga"
    source.write_bytes(OGGS[name](data))
    run = put_through(source)
    outcome = run.check()
    times = {"the same serial again": 2, "fifty links": 50}.get(name, 1)
    if name == "fifty links":
        assert outcome != "error", run.stderr
    if outcome == "whole" or name == "fifty links":
        samples, rate = read(run.result)
        assert len(find_clicks(samples[: 2 * FRAMES, 0])) >= min(2 * times, 4), "clicks are missing"
        assert len(samples) >= times * FRAMES
        assert len(samples) / rate < times * 0.5 + 0.3, "more than there was"
