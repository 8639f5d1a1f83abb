"""WAV, RF64, BW64 and W64 files whose sizes cannot be believed.

A recorder whose battery died leaves sizes of 0 or of its last checkpoint; programs that write to a pipe leave
0x7FFFFFFF or 0xFFFFFFFF; files over 4 GB wrap around. So only the position and format of the samples are taken from the
file, and libsndfile gets a new header.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from exdiff.audio.layouts import layout_of
from exdiff.audio.reading.parts import Part
from exdiff.audio.reading.source import file_size, read_at
from exdiff.audio.reading.tail import zeros_only

_PCM_TAGS = (1, 3, 6, 7)  # integers, floats, A-law, mu-law: each sample has its own bytes
_EXTENSIBLE = 0xFFFE
_UNKNOWN_SIZE = 0x7FFF0000  # bytes; programs that write to a pipe put a number above this
_SLACK = 8  # bytes; a missing padding byte or half a frame is not a truncation
_MAX_FORMAT = 4096  # bytes
_SYNCS = (b"\xfe\x7f\x01\x80", b"\x7f\xfe\x80\x01", b"\xff\x1f\x00\xe8", b"\x72\xf8\x1f\x4e")
_MAX_CHUNKS = 10_000
_MAX_TRAILER = 1 << 16  # bytes behind the samples in which chunks are looked for
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_CHUNK_NAMES = (
    "LIST id3 ID3 bext cue iXML axml chna JUNK junk FLLR fact PEAK smpl inst plst cart _PMX DISP levl umid minf elm1 "
    "regn SAUR AFAn PAD afsp"
)
_CHUNK_IDS = frozenset(name.ljust(4).encode() for name in _CHUNK_NAMES.split())


def riff_parts(file: BinaryIO, start: int = 0) -> list[Part] | None:
    """The pieces of sound in a WAV, RF64, BW64 or W64 file, or None if it holds something else than plain PCM."""
    parts: list[Part] = []
    size, at = file_size(file), start
    while True:
        head = read_at(file, at, 40)
        if head[:16] == _W64_RIFF:
            part = _w64_part(file, at, size)
        elif head[:4] == b"data" and parts:
            part = _build(file, parts[-1].format, "<", at + 8, int.from_bytes(head[4:8], "little"), size, "wav")
        else:
            part = _wav_part(file, at, size, head)
        if part is None:
            return parts or None
        parts.append(part)
        if not part.next:
            return parts
        at = part.next


def _wav_part(file: BinaryIO, base: int, size: int, head: bytes) -> Part | None:
    order = ">" if head[:4] == b"RIFX" else "<"
    fmt, long_size, at = b"", 0, base + 12
    for _ in range(_MAX_CHUNKS):
        if len(header := read_at(file, at, 8)) < 8:
            return None
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        at += 8
        if name == b"data":
            break
        if name == b"fmt ":
            fmt = read_at(file, at, min(length, _MAX_FORMAT))
        elif name == b"ds64":
            body = read_at(file, at, 24)
            long_size = struct.unpack("<Q", body[8:16])[0] if len(body) >= 16 else 0
        at = _next_chunk(file, at + length, size)
    else:
        return None
    container = {b"RF64": "rf64", b"BW64": "rf64"}.get(head[:4], "wav")
    if container == "rf64" and length >= _UNKNOWN_SIZE:
        length = long_size
    return _build(file, fmt, order, at, length, size, container)


def _next_chunk(file: BinaryIO, end: int, size: int) -> int:
    """Where the chunk after one that ends at `end` begins: some programs forget the padding byte."""
    padded = end + end % 2
    if padded == end or padded >= size:
        return padded
    return end if not _is_id(read_at(file, padded, 4)) and _is_id(read_at(file, end, 4)) else padded


def _is_id(name: bytes) -> bool:
    return name in _CHUNK_IDS or name in {b"data", b"fmt "}


def _build(file: BinaryIO, fmt: bytes, order: str, start: int, length: int, size: int, container: str) -> Part | None:
    if len(fmt) < 16:
        return None
    tag, channels, _, _, align, _ = struct.unpack(order + "HHIIHH", fmt[:16])
    layout: tuple[str, ...] = ()
    if tag == _EXTENSIBLE and len(fmt) >= 40:
        layout = layout_of(struct.unpack(order + "I", fmt[20:24])[0], channels)
        tag = struct.unpack(order + "H", fmt[24:26])[0]
    if tag not in _PCM_TAGS or not channels or not align or align % channels:
        return None
    if is_bitstream(read_at(file, start, 1 << 14)):
        return None
    end, following, note = _sound_end(file, start, length, size)
    declared = length // align if length > size - start + _SLACK and length < _UNKNOWN_SIZE else None
    if container == "rf64" and length > size - start + _SLACK:
        declared = length // align
    if note.endswith(": "):
        note += f"{(end - start) // align / max(1, struct.unpack(order + 'I', fmt[4:8])[0]):.2f} s"
    end -= (end - start) % align
    head = _header(fmt[:40] if len(fmt) >= 40 else fmt[:18] if len(fmt) >= 18 else fmt[:16], order, end - start, align)
    return Part(head, start, end, container, declared, layout, note, following, fmt)


def _sound_end(file: BinaryIO, start: int, length: int, size: int) -> tuple[int, int, str]:
    """(end of the samples, start of a joined file or 0, beginning of a note) for a data chunk of `length` bytes."""
    if length and length + start > size:
        return size, 0, ""
    if length and start + length < size - _SLACK and zeros_only(file, start + length, size):
        return start + length, 0, f"{size - start - length} zero bytes behind the sound are left out"
    kind, where = _what_follows(file, start + length, size)
    if kind in ("file", "data"):
        return start + length, where, ""
    if kind == "chunks":
        return start + length, 0, ""
    return _without_trailer(file, start, size), 0, "the size in its header is wrong; it was read to its end: "


def _without_trailer(file: BinaryIO, start: int, size: int) -> int:
    """The end of the samples if the header does not say it: before the chunks, or the tag, that end with the file."""
    if read_at(file, size - 128, 3) == b"TAG":
        size -= 128
    at = max(start, size - _MAX_TRAILER)
    block = read_at(file, at, size - at)
    places = [place for name in _CHUNK_IDS if (place := block.rfind(name)) >= 0]
    for place in sorted(places):
        if _what_follows(file, at + place, size)[0] == "chunks":
            return at + place
    return size


def _what_follows(file: BinaryIO, at: int, size: int) -> tuple[str, int]:
    """("chunks", 0) for nothing but metadata to the end, ("file", where) for a joined file, ("data", where)
    for another data chunk, else ("sound", 0).
    """
    for place in dict.fromkeys((at + at % 2, at)):
        while size - place > _SLACK:
            header = read_at(file, place, 12)
            if header[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and header[8:12] == b"WAVE":
                return "file", place
            if header[:4] == b"data" and struct.unpack("<I", header[4:8])[0] <= size - place:
                return "data", place
            name, length = header[:4], struct.unpack("<I", header[4:8])[0]
            end = place + 8 + length
            if name[:3] == b"TAG" or header == b"APETAGEX" or not (name in _CHUNK_IDS or _closes(name, end, size)):
                break
            place = end + end % 2
        header = read_at(file, place, 8)
        if size - place <= _SLACK or (header[:3] == b"TAG" and size - place == 128) or header == b"APETAGEX":
            return "chunks", 0
    return "sound", 0


def _closes(name: bytes, end: int, size: int) -> bool:
    """Whether an unknown chunk may be one: a printable name, and it ends where the file does."""
    return all(0x20 <= byte < 0x7F for byte in name) and abs(end - size) <= 1


def is_bitstream(data: bytes) -> bool:
    """Whether "PCM" is really DTS or AC-3, as on some discs: a sync word comes twice among the first bytes."""
    return any(data.count(sync) >= 2 for sync in _SYNCS)


def _header(fmt: bytes, order: str, length: int, align: int) -> bytes:
    """A WAV header, or an RF64 one for 4 GB and more."""
    long = length >= 0xFFFFF000
    chunks = b"fmt " + struct.pack(order + "I", len(fmt)) + fmt
    if long and order == "<":
        riff = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<IQQQI", 28, length + 80, length, length // align, 0)
        return riff + chunks + b"data\xff\xff\xff\xff"
    magic = b"RIFX" if order == ">" else b"RIFF"
    total = struct.pack(order + "I", min(0xFFFFFFFF, 4 + len(chunks) + 8 + length))
    return magic + total + b"WAVE" + chunks + b"data" + struct.pack(order + "I", min(0xFFFFFFFF, length))


def _w64_part(file: BinaryIO, base: int, size: int) -> Part | None:
    """Sony Wave64: chunks with 16-byte names, and 64-bit sizes that count the header."""
    fmt, at = b"", base + 40
    while len(header := read_at(file, at, 24)) == 24:
        name, length = header[:4], struct.unpack("<Q", header[16:])[0]
        if header[4:16] != _W64_TAIL and name in {b"fmt ", b"data"}:
            return None
        if name == b"data":
            length = length - 24 if 24 <= length < 1 << 62 else 0
            return _w64_build(file, fmt, at + 24, length, size)
        if name == b"fmt ":
            fmt = read_at(file, at + 24, min(max(0, length - 24), _MAX_FORMAT))
        if length < 24:
            return None
        at += -(-length // 8) * 8
    return None


def _w64_build(file: BinaryIO, fmt: bytes, start: int, length: int, size: int) -> Part | None:
    following = start + -(-length // 8) * 8
    rest = size - following
    known = rest <= 8 or read_at(file, following + 4, 12) == _W64_TAIL or read_at(file, following, 4) == b"LIST"
    if length and start + length <= size and known:
        size = start + length
    part = _build(file, fmt, "<", start, length, size, "rf64")
    if part is None:
        return None
    return Part(part.head, part.start, part.end, "w64", part.declared, part.layout, part.note, 0)
