"""Metadata as chunks behind the samples of PCM files: LIST INFO and ID3 in WAV, ID3 in AIFF, info in CAF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from exdiff.audio.tags.metadata import Metadata

# Resource Interchange File Format: the registered INFO names that FFmpeg maps to its generic ones.
_INFO = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "comment": b"ICMT", "copyright": b"ICOP", "date": b"ICRD",
    "genre": b"IGNR", "track": b"IPRT", "language": b"ILNG", "encoded_by": b"ITCH",
}  # fmt: skip
_ID3 = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "album_artist": b"TPE2", "composer": b"TCOM",
    "genre": b"TCON", "copyright": b"TCOP", "encoded_by": b"TENC", "date": b"TDRC", "track": b"TRCK", "disc": b"TPOS",
    "publisher": b"TPUB", "performer": b"TPE3", "grouping": b"TIT1", "compilation": b"TCMP", "language": b"TLAN",
    "album-sort": b"TSOA", "artist-sort": b"TSOP", "title-sort": b"TSOT", "creation_time": b"TDEN",
}  # fmt: skip


def tag_chunks(metadata: Metadata, container: str, mask: int) -> list[tuple[bytes, bytes]]:
    """(name, content) of the chunks to append; `mask` is the WAV channel mask, 0 if the layout is unknown."""
    tags = dict(metadata.tags)
    if metadata.language:
        tags["language"] = metadata.language
    rest = bool(metadata.covers or metadata.chapters)
    if container in ("wav", "rf64"):
        if metadata.riff_chunks:
            return metadata.riff_chunks
        chunks = [(b"LIST", b"INFO" + info)] if (info := b"".join(_info(tags))) else []
        return [*chunks, (b"id3 ", _id3(tags, metadata))] if rest or set(tags) - set(_INFO) else chunks
    if container in ("aiff", "aifc"):
        chunks = [(b"CHAN", struct.pack(">III", 1 << 16, mask, 0))] if mask else []
        return [*chunks, (b"ID3 ", _id3(tags, metadata))] if tags or rest else chunks
    if container == "caf":
        chunks = [(b"chan", struct.pack(">III", 1 << 16, mask, 0))] if mask else []
        pairs = b"".join(f"{key}\0{text}\0".encode() for key, text in tags.items())
        return [*chunks, (b"info", struct.pack(">I", len(tags)) + pairs)] if tags else chunks
    return []


def _info(tags: dict[str, str]) -> Iterator[bytes]:
    for key, name in _INFO.items():
        if key in tags:
            text = tags[key].encode() + b"\0"
            yield name + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)


def _frame(name: bytes, body: bytes) -> bytes:
    return name + _syncsafe(len(body)) + b"\0\0" + body


def _syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _id3(tags: dict[str, str], metadata: Metadata) -> bytes:
    """An ID3v2.4 tag in UTF-8."""
    frames = b""
    for key, text in tags.items():
        if key in _ID3:
            frames += _frame(_ID3[key], b"\3" + text.encode())
        elif key == "comment":
            frames += _frame(b"COMM", b"\3und\0" + text.encode())
        elif key.startswith("lyrics"):
            frames += _frame(b"USLT", b"\3und\0" + text.encode())
        else:
            frames += _frame(b"TXXX", b"\3" + key.encode() + b"\0" + text.encode())
    for number, (mime, image) in enumerate(metadata.covers):
        kind = b"\3" if number == 0 else b"\0"  # front cover; other
        frames += _frame(b"APIC", b"\3" + mime.encode() + b"\0" + kind + str(number or "").encode() + b"\0" + image)
    for number, (start, end, title) in enumerate(metadata.chapters):
        times = struct.pack(">IIII", round(start * 1000), round(end * 1000), 0xFFFFFFFF, 0xFFFFFFFF)
        frames += _frame(b"CHAP", b"ch%d\0" % number + times + _frame(b"TIT2", b"\3" + title.encode()))
    return b"ID3\4\0\0" + _syncsafe(len(frames)) + frames
