"""Files that were cut short but still open: libsndfile reads what is left of them without a word.

Checked here are the headers that promise more bytes than the file has: RIFF and AIFF chunks, and the last Ogg page.
Truncated FLAC, MP3 and MP4 show themselves while they are decoded.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE_MAX = 27 + 255 + 255 * 255  # bytes
_UNKNOWN_SIZE = 0x7FFF0000  # bytes; what writes to a pipe cannot know its size, and puts a number above this
_SLACK = 8  # bytes; a missing padding byte or half a frame is no truncation


def missing_bytes(path: Path) -> int:
    """How many bytes the headers of a WAV, RF64, AIFF or Ogg file promise beyond the file's end; 0 for the rest."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            lack = _chunks_beyond(file, size, b"data", "<")
        elif head[:4] == b"FORM" and head[8:11] == b"AIF":
            lack = _chunks_beyond(file, size, b"SSND", ">")
        elif head[:4] == b"OggS":
            lack = _ogg_beyond(file, size)
        else:
            lack = 0
    return lack if lack > _SLACK else 0


def _chunks_beyond(file: BinaryIO, size: int, wanted: bytes, order: str) -> int:
    """Walk the chunks up to the one that holds the samples."""
    long_size = 0
    while len(header := file.read(8)) == 8:
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64":
            body = file.read(length)
            long_size = struct.unpack("<Q", body[8:16])[0] if len(body) >= 16 else 0
            continue
        if name == wanted:
            if length >= _UNKNOWN_SIZE:
                length = long_size
            return max(0, file.tell() + length - size)
        file.seek(length + length % 2, 1)
    return 0


def _ogg_beyond(file: BinaryIO, size: int) -> int:
    file.seek(max(0, size - _OGG_PAGE_MAX))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS"):
        return 0
    if len(page) < 27 or len(page) < 27 + page[26]:
        return _SLACK + 1
    return 27 + page[26] + sum(page[27 : 27 + page[26]]) - len(page)
