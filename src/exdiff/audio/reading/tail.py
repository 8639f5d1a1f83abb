"""What stands behind the sound in a file and is none: tags of other formats, and zeros that fill a disk's blocks."""

from __future__ import annotations

import struct
from typing import BinaryIO

from exdiff.audio.reading.source import read_at

_ZEROS = 2048  # bytes; fewer may belong to the sound
_ID3V1 = 128  # bytes
_BLOCK = 1 << 20


def zeros_only(file: BinaryIO, start: int, end: int) -> bool:
    """Whether bytes `start` to `end` are all zero."""
    for at in range(start, end, _BLOCK):
        data = read_at(file, at, min(_BLOCK, end - at))
        if data.count(0) != len(data):
            return False
    return True


def sound_end(file: BinaryIO, start: int, end: int) -> tuple[int, str]:
    """(the end of the sound between `start` and `end`, a note about zeros behind it).

    Example:
        >>> import io
        >>> sound_end(io.BytesIO(b"sound" + bytes(5000) + b"TAG" + bytes(125)), 0, 5133)
        (5, '5000 zero bytes behind the sound are left out')
    """
    note = ""
    while end > start:
        tag = _tag_before(file, start, end)
        zeros = 0 if tag else _zeros_before(file, start, end)
        if zeros >= _ZEROS:
            note = f"{zeros} zero bytes behind the sound are left out"
        elif not tag:
            break
        end -= tag or zeros
    return end, note


def wavpack_end(file: BinaryIO, start: int, end: int) -> int:
    """Where the last block of a WavPack file ends: blocks may end in zeros themselves."""
    at = start
    while (head := read_at(file, at, 8))[:4] == b"wvpk" and len(head) == 8:
        at += 8 + int.from_bytes(head[4:], "little")
    return min(at, end)


def _tag_before(file: BinaryIO, start: int, end: int) -> int:
    """Bytes of the ID3v1 or APE tag that ends at `end`; 0 for none."""
    if end - start >= _ID3V1 and read_at(file, end - _ID3V1, 3) == b"TAG":
        return _ID3V1
    footer = read_at(file, max(start, end - 32), 32)
    if footer[:8] == b"APETAGEX" and len(footer) == 32:
        size, flags = struct.unpack("<I4xI", footer[12:24])
        size += 32 if flags >> 31 else 0
        return size if 32 <= size <= end - start else 32
    return 0


def _zeros_before(file: BinaryIO, start: int, end: int) -> int:
    """How many zero bytes end at `end`."""
    at = end
    while at > start:
        block = min(_BLOCK, at - start)
        data = read_at(file, at - block, block)
        left = len(data.rstrip(b"\0"))
        if left:
            return max(0, end - at + block - left - _zeros_of_tag(file, start, at - block + left))
        at -= block
    return end - start


def _zeros_of_tag(file: BinaryIO, start: int, end: int) -> int:
    """How many of the zeros from `end` on belong to a tag: an APE footer ends in eight, an ID3v1 tag may in more."""
    before = read_at(file, max(start, end - _ID3V1), min(_ID3V1, end - start))
    if before[-24:-16] == b"APETAGEX":
        return 8
    place = before.rfind(b"TAG")
    return _ID3V1 - (len(before) - place) if place >= 0 else 0
