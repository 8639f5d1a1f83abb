"""Tags, covers, chapters, language and RIFF chunks come through, compared one by one; what cannot is named."""

import io
import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tagged import target, write

from exdiff.audio import decode
from exdiff.audio.codecs import CONTAINERS
from exdiff.audio.encode import AudioWriter
from exdiff.audio.tags.metadata import Metadata, lost, read_metadata
from exdiff.audio.tags.mp4_tags import add_tags

Image = pytest.importorskip("PIL.Image")

TAGS = {
    "title": "Größe – 雨", "artist": "A; B", "album": "C=D", "album_artist": "E", "composer": "F", "genre": "Speech",
    "date": "2021", "track": "3/12", "disc": "1/2", "comment": "two words", "copyright": "G", "MY_TAG": "own",
}  # fmt: skip
CHAPTERS = [(0.0, 0.2, "One"), (0.2, 0.35, "Zwei"), (0.35, 0.5, "三")]
# What each container keeps: tags, a cover, chapters, language.
KEEPS = {
    "wav": "tcel", "rf64": "tcel", "w64": "", "aiff": "tcel", "aifc": "tcel", "caf": "tl", "au": "", "flac": "tcel",
    "ogg": "tcel", "mp3": "tcel", "mp4": "tcel", "mov": "tel", "mkv": "tcel", "webm": "tel", "adts": "t", "ts": "l",
    "ac3": "", "eac3": "", "mp2": "", "wv": "t", "tta": "t",
}  # fmt: skip


def image(kind, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def everything(**changes):
    """Metadata of every kind; the words are those of nobody."""
    full = Metadata(dict(TAGS), [("image/jpeg", image("JPEG"))], list(CHAPTERS), "deu", ("default",))
    return replace(full, **changes)


def probe(path):
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(os.name == "nt", reason="there a name cannot hold a colon")
@pytest.mark.parametrize("name", ["2024-05-01T12:30:00.{}", "file:a.{}", "http://b/c:d.{}", "e:f/g.{}"])
@pytest.mark.parametrize("suffix", ["flac", "m4a", "ogg", "mka", "wav"])
def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    path = Path(name.format(suffix))
    path.parent.mkdir(parents=True, exist_ok=True)
    with AudioWriter(path, 8000, 1, metadata=Metadata({"title": "Noon"})) as writer:
        writer.write(np.zeros((1, 8000), np.float32))
    assert read_metadata(path).tags["title"] == "Noon"
    assert decode(path)[0].shape == (1, 8000)


@pytest.mark.parametrize(("container", "codec"), [
    (name, codec)
    for name, one in CONTAINERS.items()
    for codec in one.codecs
    if not codec.startswith("pcm_") or codec == one.codecs[0]
])  # fmt: skip
def test_what_comes_back_and_what_is_said_to_be_lost(tmp_path, container, codec):
    wanted, kept = target(container, codec), KEEPS[container]
    path = tmp_path / f"x{wanted.suffix}"
    notes = write(path, everything(), wanted)
    got = read_metadata(path)
    lower = {key.lower(): text for key, text in got.tags.items()}
    for key, text in TAGS.items():
        if "t" in kept:
            assert lower.pop(key.lower()) == text
        else:
            assert key.lower() not in lower
            assert any(key in note for note in notes)
    assert got.covers == ([("image/jpeg", image("JPEG"))] if "c" in kept else [])
    assert any("cover" in note for note in notes) == ("c" not in kept)
    assert [title for _, _, title in got.chapters] == ([row[2] for row in CHAPTERS] if "e" in kept else [])
    for (start, end, _), (first, last, _) in zip(got.chapters, CHAPTERS, strict=False):
        assert (start, end) == pytest.approx((first, last), abs=0.02)
    assert any("chapters" in note for note in notes) == ("e" not in kept)
    assert bool(got.language) == ("l" in kept)
    assert any("language" in note for note in notes) == ("l" not in kept)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
@pytest.mark.parametrize("container", ["flac", "ogg", "mp3", "mp4", "mkv", "aiff", "wav"])
def test_another_program_finds_them_too(tmp_path, container):
    wanted = target(container)
    write(tmp_path / f"x{wanted.suffix}", everything(), wanted)
    found = probe(tmp_path / f"x{wanted.suffix}")
    tags = {key.lower(): text for key, text in found["format"].get("tags", {}).items()}
    for stream in found["streams"][:1]:
        tags |= {key.lower(): text for key, text in stream.get("tags", {}).items()}
    for key in ("title", "artist", "album", "genre", "comment"):
        assert tags[key] == TAGS[key]
    assert [stream["codec_name"] for stream in found["streams"] if stream["codec_type"] == "video"] == ["mjpeg"]
    assert [chapter["tags"]["title"] for chapter in found["chapters"]] == [row[2] for row in CHAPTERS]


@pytest.mark.parametrize("container", ["flac", "ogg", "mp3", "mp4", "mkv", "wav"])
def test_large_and_several_covers(tmp_path, container):
    """Larger than a page of Ogg; the sound behind it is the same as without."""
    pixels = np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    covers = [("image/png", stream.getvalue()), ("image/jpeg", image("JPEG", 2))]
    assert len(covers[0][1]) > 300_000
    wanted = target(container)
    names = [tmp_path / f"{name}{wanted.suffix}" for name in ("with", "without")]
    assert write(names[0], Metadata(covers=covers), wanted) == []
    write(names[1], None, wanted)
    assert read_metadata(names[0]).covers == covers
    if container in ("flac", "ogg", "wav", "mp3"):
        a, b = (soundfile.read(name)[0] for name in names)
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_every_page_of_an_ogg_file_with_other_comments_is_intact(tmp_path):
    """FFmpeg checks the sum and the number of each page."""
    long = 0.1 * np.random.default_rng(3).standard_normal((2, 48000 * 6)).astype(np.float32)
    with AudioWriter(tmp_path / "x.ogg", 48000, 2, metadata=Metadata({"title": "T" * 200_000})) as writer:
        writer.write(long)
    done = subprocess.run(
        ["ffmpeg", "-v", "warning", "-err_detect", "crccheck", "-i", tmp_path / "x.ogg", "-f", "null", "-"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stderr == b""
    data, numbers, at = (tmp_path / "x.ogg").read_bytes(), [], 0
    while at < len(data):
        numbers.append(struct.unpack_from("<I", data, at + 18)[0])
        at += 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 6


def test_freeform_tags_of_mp4_do_not_disturb_the_sound(tmp_path):
    tags = {"MusicBrainz Album Id": "0b1c", "replaygain_track_gain": "-3 dB", "雨": "ü" * 500}
    for name, metadata in (("x.m4b", everything(tags={**TAGS, **tags})), ("y.m4b", None), ("z.m4b", Metadata(tags))):
        assert write(tmp_path / name, metadata, target("mp4", suffix=".m4b")) == []
    sounds = [decode(tmp_path / name)[0] for name in ("x.m4b", "y.m4b", "z.m4b")]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    np.testing.assert_array_equal(sounds[0], sounds[2])
    got = read_metadata(tmp_path / "x.m4b")
    assert {key: got.tags[key] for key in tags} == tags
    assert len(got.covers) == 1
    assert len(got.chapters) == 3
    assert read_metadata(tmp_path / "z.m4b").tags == tags


def test_tags_are_not_forced_into_what_has_no_list_of_them(tmp_path):
    for content in (b"", b"\0\0\0\x08moov", b"\0\0\0\x10moov\0\0\0\x08udta", b"\0\0\0\0free" * 3):
        (tmp_path / "x.m4a").write_bytes(content)
        assert not add_tags(tmp_path / "x.m4a", {"a": "b"})
        assert (tmp_path / "x.m4a").read_bytes() == content


def test_a_file_without_metadata_stays_without(tmp_path):
    for name in ("x.wav", "x.flac", "x.ogg", "x.m4a", "x.mp3"):
        assert write(tmp_path / name, Metadata(), None) == []
        got = read_metadata(tmp_path / name)
        assert (got.tags, got.covers, got.chapters, got.riff_chunks) == ({}, [], [], [])


def test_metadata_of_what_is_no_audio_is_empty(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEbext\xff\xff\xff\x7fshort")
    assert read_metadata(tmp_path / "x.wav").riff_chunks == []
    assert read_metadata(Path(tmp_path / "none.mp3")) == Metadata()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_technical_tags_of_the_old_file_do_not_come_along(tmp_path):
    write(tmp_path / "x.wav", None, None)
    tags = {"title": "T", "iTunSMPB": "0 1 2", "encoder": "old", "TLEN": "12345"}
    options = [part for key, text in tags.items() for part in ("-metadata", f"{key}={text}")]
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", *options, tmp_path / "x.mp3"], check=True)
    assert read_metadata(tmp_path / "x.mp3").tags == {"title": "T"}


@pytest.mark.parametrize(("wanted", "got", "lines"), [
    ("03", "3", 0), ("2020", "2020-01-01", 0), ("two", "two words", 1), ("3/12", "3", 1), ("x", "y", 1), ("", "", 0),
])  # fmt: skip
def test_a_tag_counts_as_kept_if_only_its_numbers_are_written_otherwise(tmp_path, wanted, got, lines):
    write(tmp_path / "x.flac", Metadata({"track": got}), None)
    assert len(lost(Metadata({"track": wanted} if wanted else {}), tmp_path / "x.flac", ".flac")) == lines
