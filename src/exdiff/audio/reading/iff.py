"""AIFF, AIFF-C, CAF and AU files whose sizes cannot be believed; see `riff.py`."""

from __future__ import annotations

import struct
from typing import BinaryIO

from exdiff.audio.reading.parts import Part
from exdiff.audio.reading.source import file_size, read_at
from exdiff.audio.reading.tail import zeros_only

_UNKNOWN_SIZE = 0x7FFF0000
_SLACK = 8
_MAX_CHUNKS = 10_000  # sound that is taken for chunks, because a size is wrong, has more
_WRONG = "the size in its header is wrong; it was read to its end"
# AIFF-C's names of PCM, and the bytes of a sample, 0 for those that COMM says.
_AIFC_WIDTHS = {b"NONE": 0, b"twos": 0, b"sowt": 0, b"raw ": 1, b"in24": 3, b"in32": 4, b"fl32": 4, b"FL32": 4}
_AIFC_WIDTHS |= {b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1}
_CAF_WIDE = 1 << 62
_AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def aiff_parts(file: BinaryIO, start: int = 0) -> list[Part] | None:
    """The pieces of sound in an AIFF or AIFF-C file, or None for an encoding other than PCM."""
    parts: list[Part] = []
    size, at = file_size(file), start
    while True:
        part = _aiff_part(file, at, size)
        if part is None:
            return parts or None
        parts.append(part)
        if not part.next:
            return parts
        at = part.next


def _aiff_part(file: BinaryIO, base: int, size: int) -> Part | None:
    kind = read_at(file, base + 8, 4)
    comm, data, length, at = b"", 0, 0, base + 12
    following = 0
    for _ in range(_MAX_CHUNKS):
        if len(header := read_at(file, at, 12)) < 8:
            break
        name, count = header[:4], struct.unpack(">I", header[4:8])[0]
        if name == b"FORM" and header[8:11] == b"AIF" and data:
            following = at
            break
        if name == b"COMM":
            comm = read_at(file, at + 8, min(count, 256))
        elif name == b"SSND":
            data, length = at + 8, count
            if comm and (count < 8 or at + 8 + count > size):
                break  # nothing can be found behind it
        at += 8 + count + count % 2
    if len(comm) < 18 or not data:
        return None
    return _aiff_build(file, kind, comm, data, length, size, following)


def _aiff_build(
    file: BinaryIO, kind: bytes, comm: bytes, data: int, length: int, size: int, following: int
) -> Part | None:
    channels, frames, bits = struct.unpack(">HIH", comm[:8])
    width = -(-bits // 8)
    if kind == b"AIFC":
        code = comm[18:22]
        if code not in _AIFC_WIDTHS:
            return None
        width = _AIFC_WIDTHS[code] or width
    align = channels * width
    if not align:
        return None
    offset = struct.unpack(">I", read_at(file, data, 4).ljust(4, b"\0"))[0]
    first = data + 8 + (offset if offset < 1 << 20 else 0)
    end, declared, note = size, None, ""
    if length > 8 and data + length <= size:
        end = data + length
        if _is_sound(file, end + end % 2, size):
            end, note = size, _WRONG
    elif 8 < length < _UNKNOWN_SIZE and data + length > size + _SLACK:
        declared = (length - (first - data)) // align
    found = max(0, end - first) // align
    if not frames and length <= 8:
        note = _WRONG
        if size - first <= _SLACK:
            found, note = 0, ""
    comm = comm[:2] + struct.pack(">I", min(0xFFFFFFFF, found)) + comm[6:]
    chunks = b"COMM" + struct.pack(">I", len(comm)) + comm + bytes(len(comm) % 2)
    if kind == b"AIFC":
        chunks = b"FVER" + struct.pack(">II", 4, 0xA2805140) + chunks
    total = min(0xFFFFFFFF, 4 + len(chunks) + 16 + found * align)
    head = b"FORM" + struct.pack(">I", total) + kind + chunks
    head += b"SSND" + struct.pack(">III", min(0xFFFFFFFF, found * align + 8), 0, 0)
    name = "aifc" if kind == b"AIFC" else "aiff"
    return Part(head, first, first + found * align, name, declared, (), note, following)


def _is_sound(file: BinaryIO, at: int, size: int) -> bool:
    """Whether more sound stands behind its chunk: neither another chunk nor zeros."""
    name = read_at(file, at, 4)
    chunk = all(0x20 <= byte < 0x7F for byte in name) or name[:3] == b"TAG"
    return size - at > _SLACK and not chunk and not zeros_only(file, at, size)


def caf_part(file: BinaryIO) -> Part | None:
    """The sound of a CAF file of PCM, or None for another encoding."""
    size, at, desc = file_size(file), 8, b""
    for _ in range(_MAX_CHUNKS):
        if len(header := read_at(file, at, 12)) < 12:
            return None
        name, length = header[:4], struct.unpack(">q", header[4:])[0]
        at += 12
        if name == b"data":
            break
        if name == b"desc":
            desc = read_at(file, at, 32)
        if not 0 <= length < _CAF_WIDE:
            return None
        at += length
    else:
        return None
    if len(desc) < 32 or desc[8:12] not in (b"lpcm", b"ulaw", b"alaw"):
        return None
    align = struct.unpack(">I", desc[16:20])[0]
    if not align or struct.unpack(">I", desc[24:28])[0] > 2:
        return None  # the order of more than two channels is in another chunk, which FFmpeg reads
    first, declared, note = at + 4, None, ""
    end = at + length if length >= 4 else size
    if (length in (0, 4) and size - first > _SLACK) or (length > 4 and end < size and _is_sound(file, end, size)):
        end, note = size, _WRONG
    if end > size + _SLACK:
        declared = (end - first) // align
    end = min(end, size)
    end -= max(0, end - first) % align
    data = b"data" + struct.pack(">qI", max(0, end - first) + 4, 0)
    head = b"caff\x00\x01\x00\x00" + b"desc" + struct.pack(">q", 32) + desc + data
    return Part(head, first, end, "caf", declared, (), note)


def au_part(file: BinaryIO) -> Part | None:
    """The sound of an AU file, or None for an encoding other than PCM."""
    size, head = file_size(file), read_at(file, 0, 24)
    order = "<" if head[:4] == b"dns." else ">"
    if len(head) < 24:
        return None
    first, length, encoding, _, channels = struct.unpack(order + "IIIII", head[4:24])
    width = _AU_WIDTHS.get(encoding, 0)
    if not width or not channels or not 24 <= first < size:
        return None
    align, declared, note = width * channels, None, ""
    rest = size - first
    if length < _UNKNOWN_SIZE and length > rest + _SLACK:
        declared = length // align
    elif length and length + _SLACK < rest and zeros_only(file, first + length, size):
        note, rest = f"{rest - length} zero bytes behind the sound are left out", length
    elif length + _SLACK < rest and length < _UNKNOWN_SIZE:
        note = _WRONG
    count = rest - rest % align
    new = head[:4] + struct.pack(order + "II", 24, min(0xFFFFFFFF, count)) + head[12:24]
    return Part(new, first, first + count, "au", declared, (), note)
