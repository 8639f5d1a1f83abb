"""What belongs to a file, tag by tag, wherever the container of the result can hold it."""

from __future__ import annotations

import re
import struct

import av
import numpy as np
import pytest
from faults import insert_chunk
from make import sound, wave_file

TAGS = {
    "title": "Ein Lied & mehr",
    "artist": "Ärzte/Ärztinnen",
    "album": "日本",
    "genre": "Jazz",
    "date": "1999",
    "track": "3/12",
    "comment": "a = b; c # d",
    "composer": "Nobody",
    "album_artist": "Various",
}
# What FFmpeg writes and reads back in each container; test_the_source_has_them checks this table itself.
HELD = {
    "mp3": tuple(TAGS),
    "m4a": tuple(TAGS),
    "m4b": tuple(TAGS),
    "mp4": tuple(TAGS),
    "mov": ("title", "artist", "album", "genre", "date", "comment"),
    "flac": tuple(TAGS),
    "ogg": tuple(TAGS),
    "opus": tuple(TAGS),
    "oga": tuple(TAGS),
    "wav": ("title", "artist", "album", "genre", "date", "track", "comment"),
    "mka": tuple(TAGS),
    "webm": tuple(TAGS),
    "wv": tuple(TAGS),
    "aiff": ("title", "comment"),
    "caf": tuple(TAGS),
}
CODECS = {"mov": "-c:a alac", "oga": "-c:a flac", "ogg": "-c:a libvorbis", "mka": "-c:a flac", "webm": "-c:a libopus"}
TO = {target: HELD[target] for target in ("wav", "flac", "mp3", "m4a", "ogg", "opus")}
CHAPTERS = [(0.0, 0.1, "Eins"), (0.1, 0.25, "Zwei: ö"), (0.25, 0.4997, "Drei")]
WITH_CHAPTERS = ("m4a", "m4b", "mp4", "mka", "mp3", "opus")


def tags_of(path):
    """Tags of the file and of its sound together, with small letters."""
    with av.open(str(path)) as container:
        found = {**container.streams.audio[0].metadata, **container.metadata}
    return {key.lower(): value for key, value in found.items()}


def chapters_of(path):
    with av.open(str(path)) as container:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"].get("title"))
            for c in container.chapters()
        ]


def covers_of(path):
    with av.open(str(path)) as container:
        pictures = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        return [bytes(next(p for p in container.demux(s) if p.size)) for s in pictures]


def _escaped(value):
    return re.sub("([=;#])", r"\\\1", value)


def tagged(maker, suffix, extra="", title="tagged", **paths):
    description = ";FFMETADATA1\n"
    description += "".join(f"{key}={_escaped(value)}\n" for key, value in TAGS.items())
    if title == "chapters":
        description += "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000000\nSTART={round(a * 1e6)}\nEND={round(b * 1e6)}\ntitle={name}\n"
            for a, b, name in CHAPTERS
        )
    text = maker.keep(f"{title}.txt", description.encode())
    wav = maker.keep("sound.wav", wave_file(sound(2), 48000))
    return maker.run(
        f"{title}.{suffix}",
        f"ffmpeg -v error -y -i {{wav}} -i {{text}} {extra} -map_metadata 1 {CODECS.get(suffix, '')} {{out}}",
        wav=wav,
        text=text,
        **paths,
    )


@pytest.mark.parametrize("suffix", HELD)
def test_the_source_has_them(maker, suffix):
    tags = tags_of(tagged(maker, suffix))
    assert {key: tags.get(key) for key in HELD[suffix]} == {key: TAGS[key] for key in HELD[suffix]}


@pytest.mark.parametrize("suffix", HELD)
def test_same_format_keeps_every_tag(maker, put_through, suffix):
    run = put_through(tagged(maker, suffix))
    assert run.check() == "whole", run.stderr
    tags = tags_of(run.result)
    assert {key: tags.get(key) for key in HELD[suffix]} == {key: TAGS[key] for key in HELD[suffix]}


@pytest.mark.parametrize("target", TO)
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac", "ogg", "wav", "mka"])
def test_another_format_keeps_what_both_hold(maker, put_through, suffix, target):
    run = put_through(tagged(maker, suffix), "--format", target)
    outcome = run.check()
    tags, both = tags_of(run.result), set(HELD[suffix]) & set(TO[target])
    assert {key: tags.get(key) for key in both} == {key: TAGS[key] for key in both}
    lost = [key for key in HELD[suffix] if key not in tags]
    assert not lost or (outcome == "warning" and all(key in run.stderr for key in lost)), f"{lost} lost without a word"


@pytest.mark.parametrize("suffix", WITH_CHAPTERS)
def test_same_format_keeps_chapters(maker, put_through, suffix):
    source = tagged(maker, suffix, title="chapters", extra="-map_chapters 1")
    assert len(chapters_of(source)) == 3, "the source has chapters"
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    check_chapters(run.result)


def check_chapters(path):
    found = chapters_of(path)
    assert [title for *_, title in found] == [title for *_, title in CHAPTERS]
    np.testing.assert_allclose([c[0] for c in found], [c[0] for c in CHAPTERS], atol=2e-3)
    np.testing.assert_allclose([c[1] for c in found], [c[1] for c in CHAPTERS], atol=2e-2)


@pytest.mark.parametrize("target", ["m4a", "mp3", "opus", "ogg", "flac", "wav"])
def test_chapters_in_another_format(maker, put_through, target):
    run = put_through(tagged(maker, "m4b", title="chapters", extra="-map_chapters 1"), "--format", target)
    if run.check() == "whole" or "chapter" not in run.stderr:
        check_chapters(run.result)


@pytest.mark.parametrize("target", ["same", "m4a", "mp3", "flac", "ogg", "opus", "wav"])
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac"])
def test_covers(maker, put_through, suffix, target):
    picture = maker.run("cover.jpg", "ffmpeg -v error -y -f lavfi -i testsrc=s=64x64 -frames:v 1 {out}")
    extra = "-i {picture} -map 0:a -map 2:v -c:v copy -disposition:v attached_pic"
    source = tagged(maker, suffix, extra=extra, title="cover", picture=picture)
    assert covers_of(source) == [picture.read_bytes()]
    run = put_through(source, "--format", target)
    if run.check() == "warning" and "cover" in run.stderr:
        assert target in ("wav", "ogg", "opus"), "this format holds covers"
        return
    assert covers_of(run.result) == [picture.read_bytes()]


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac", "ogg", "wav", "mka"])
def test_strip_metadata(maker, put_through, suffix):
    run = put_through(tagged(maker, suffix), "--strip-metadata")
    assert run.check() == "whole", run.stderr
    assert not {key: value for key, value in tags_of(run.result).items() if value in TAGS.values()}


@pytest.mark.parametrize("suffix", ["mka", "mkv", "m4a"])
def test_language_and_disposition(maker, put_through, suffix):
    wav = maker.keep("sound.wav", wave_file(sound(2), 48000))
    marks = "-metadata:s:a:0 language=deu -disposition:a:0 default+forced"
    if suffix == "m4a":
        marks = "-metadata:s:a:0 language=deu"
    source = maker.run(f"deu.{suffix}", f"ffmpeg -v error -y -i {{wav}} -c:a aac {marks} {{out}}", wav=wav)
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    found = []
    for path in (source, run.result):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            found.append((stream.metadata.get("language"), int(stream.disposition)))
    assert found[0] == found[1] and found[0][0] in ("deu", "ger")


BEXT = b"A voice".ljust(256, b"\0") + b"Recorder".ljust(32, b"\0") + b"REF".ljust(32, b"\0")
BEXT += b"2024-05-0612:13:14" + struct.pack("<QH", 172800000, 1) + bytes(64 + 190) + b"A=PCM,F=48000\r\n"
CUE = struct.pack("<I", 1) + struct.pack("<II4sIII", 1, 1234, b"data", 0, 0, 1234)
LABELS = b"adtllabl" + struct.pack("<II", 10, 1) + b"Marke\0"
SAMPLER = struct.pack("<9I", 0, 0, 20833, 60, 0, 0, 0, 1, 0) + struct.pack("<6I", 0, 0, 100, 2000, 0, 0)
IXML = b"<BWFXML><PROJECT>P</PROJECT></BWFXML>"
CHUNKS = {b"bext": BEXT, b"iXML": IXML, b"cue ": CUE, b"LIST": LABELS, b"smpl": SAMPLER}


def chunk_of(data, name):
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        if data[at : at + 4] == name:
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return None


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_of_wav_are_kept_byte_by_byte(tmp_path, put_through, name, behind):
    data = wave_file(sound(2), 48000)
    body = CHUNKS[name]
    if behind:
        data += name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    else:
        data = insert_chunk(name, body)(data)
    source = tmp_path / "x.wav"
    source.write_bytes(data)
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    assert chunk_of(run.result.read_bytes(), name) == body


@pytest.mark.parametrize("target", ["flac", "m4a", "mp3"])
def test_what_a_format_cannot_hold_is_said(tmp_path, put_through, target):
    source = tmp_path / "x.wav"
    source.write_bytes(insert_chunk(b"bext", BEXT)(wave_file(sound(2), 48000)))
    run = put_through(source, "--format", target)
    assert run.check() == "warning"
    assert "bext" in run.stderr and len(run.lines) == 1
