"""The chunks of broadcast WAV files: copied byte by byte, turned into tags, or named as lost."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tagged import NOISE, target, write

from exdiff.audio.tags.chunks import read_chunks
from exdiff.audio.tags.metadata import Metadata, read_metadata
from exdiff.audio.writing.writer import AudioWriter

BEXT = b"my take".ljust(256, b"\0") + b"a recorder".ljust(32, b"\0") + bytes(32) + b"2024-05-0610:11:12" + bytes(278)
CUE = struct.pack("<I", 1) + struct.pack("<II4sIII", 1, 4000, b"data", 0, 0, 4000)
CHUNKS = [(b"bext", BEXT), (b"cue ", CUE), (b"iXML", b"<BWFXML/>"), (b"smpl", bytes(36))]


def broadcast_wave(path, odd=b""):
    """A WAV file with chunks before and behind its samples."""
    soundfile.write(path, NOISE.T, 48000, subtype="PCM_24")
    data = path.read_bytes()
    label = b"adtl" + b"labl" + struct.pack("<II", 9, 1) + b"mark\0" + b"\0"
    for name, content in (*CHUNKS, (b"LIST", label), (b"xtra", odd)):
        data += struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return dict([*CHUNKS, (b"LIST", label)])


@pytest.mark.parametrize(("container", "suffix"), [("wav", ".wav"), ("rf64", ".wav"), ("rf64", ".rf64")])
def test_the_chunks_of_a_broadcast_wave_are_copied_byte_by_byte(tmp_path, container, suffix):
    chunks = broadcast_wave(tmp_path / "x.wav", odd=b"odd")
    metadata = read_metadata(tmp_path / "x.wav")
    notes = write(tmp_path / f"y{suffix}", metadata, target(container, "pcm_s24le", suffix))
    assert notes == []
    found = dict(read_chunks(tmp_path / f"y{suffix}"))
    assert {name: found[name] for name in chunks} == chunks
    assert soundfile.info(tmp_path / f"y{suffix}").frames == 24000
    size = (tmp_path / f"y{suffix}").stat().st_size
    head = (tmp_path / f"y{suffix}").read_bytes()[:28]
    assert (
        size - 8 == struct.unpack_from("<I" if container == "wav" else "<Q", head, 4 if container == "wav" else 20)[0]
    )


def test_chunks_that_another_format_cannot_hold_are_named(tmp_path):
    broadcast_wave(tmp_path / "x.wav")
    notes = write(tmp_path / "y.flac", read_metadata(tmp_path / "x.wav"), target("flac"))
    assert "bext" in notes[-1]
    assert "iXML, smpl" in notes[-1]
    assert "cue" not in notes[-1]
    got = read_metadata(tmp_path / "y.flac")
    assert got.tags["comment"] == "my take"
    assert [(start, title) for start, _, title in got.chapters] == [(pytest.approx(4000 / 48000, abs=1e-3), "mark")]


def test_one_line_is_enough_for_a_chunk_and_the_tags_that_come_from_it(tmp_path):
    broadcast_wave(tmp_path / "x.wav")
    metadata = replace(read_metadata(tmp_path / "x.wav"), chapters=[])
    metadata.riff_chunks = [row for row in metadata.riff_chunks if row[0] == b"bext"]
    assert metadata.tags["encoded_by"] == "a recorder"
    assert write(tmp_path / "y.m4a", metadata, target("mp4")) == [".m4a cannot hold the chunks bext; they are left out"]
    metadata.riff_chunks = []
    assert "encoded_by" in write(tmp_path / "y.au", metadata, target("au"))[0]


def test_odd_sizes_are_padded(tmp_path):
    """A mono file of 8 bits may end at an odd byte; a chunk begins at an even one."""
    wanted = replace(target("wav", "pcm_u8"), sample_rate=8000, layout=("FC",))
    with AudioWriter(tmp_path / "x.wav", 8000, 1, target=wanted, metadata=Metadata({"title": "Größe"})) as writer:
        writer.write(np.zeros((1, 1001), np.float32))
    assert soundfile.info(tmp_path / "x.wav").frames == 1001
    assert read_metadata(tmp_path / "x.wav").tags["title"] == "Größe"


def chunk(name, content, size=None):
    return name + struct.pack("<I", len(content) if size is None else size) + content


@pytest.mark.parametrize("head", [b"RIFF", b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 4])
def test_silence_is_not_taken_for_chunks(tmp_path, monkeypatch, head, size):
    """Whatever the header says of its size."""
    reads = []

    class Counted(io.BytesIO):
        def read(self, *count):
            reads.append(count)
            return super().read(*count)

    content = head + bytes(4) + b"WAVE" + chunk(b"ds64", bytes(28)) + chunk(b"bext", BEXT)
    content += chunk(b"fmt ", bytes(16)) + chunk(b"data", bytes(1_000_000), size)
    monkeypatch.setattr(Path, "open", lambda *_: Counted(content))
    found = [name for name, data in read_chunks(tmp_path / "x.wav") if data]
    assert found == [b"bext"]
    assert len(reads) < 50_000 if size == 4 else len(reads) < 10


@pytest.mark.parametrize("length", [0, 3, 8, 15])
def test_a_short_ds64_chunk_is_no_error(tmp_path, length):
    (tmp_path / "x.wav").write_bytes(
        b"RF64" + bytes(4) + b"WAVE" + chunk(b"iXML", b"<a/>") + chunk(b"ds64", b"1" * length)
    )
    assert list(read_chunks(tmp_path / "x.wav")) == [(b"iXML", b"<a/>")]


def test_chunks_behind_more_than_two_gigabytes_are_read(tmp_path):
    """Of a size that programs also write for an unknown one."""
    with (tmp_path / "x.wav").open("wb") as file:
        file.write(b"RIFF" + bytes(4) + b"WAVE" + chunk(b"fmt ", bytes(16)) + chunk(b"data", b"", 0x90000000))
        file.seek(0x90000000, 1)
        file.write(chunk(b"iXML", b"<a/>"))
    assert list(read_chunks(tmp_path / "x.wav")) == [(b"iXML", b"<a/>")]
