"""Find truncated files that still open: libsndfile reads the rest of them without an error.

Checked are headers that announce more bytes than the file has: RIFF and AIFF chunks, the last Ogg page, the Xing frame
of an MP3. Truncated FLAC and MP4 files fail while they are decoded.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE_MAX = 27 + 255 + 255 * 255  # bytes
_UNKNOWN_SIZE = 0x7FFF0000  # bytes; programs that write to a pipe cannot know the size, and put a number above this
_ID3V1 = 128  # bytes; some encoders count the tag at the end, which other programs remove
_SLACK = 8  # bytes; a missing padding byte or half a frame is not a truncation


def missing_bytes(path: Path) -> int:
    """Bytes beyond the end of a WAV, RF64, AIFF, Ogg or MP3 file that its headers announce; 0 for other files."""
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
            lack = _xing_beyond(file, size, head)
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


def _xing_beyond(file: BinaryIO, size: int, head: bytes) -> int:
    """The first frame of most MP3 files holds the size of the stream instead of audio."""
    start = 0
    if head[:3] == b"ID3":
        # Four bytes of seven bits each, without the ten of the tag's own header.
        start = 10 + sum(value << shift for value, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(start)
    frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[:1] != b"\xff" or not 4 < at <= len(frame) - 16 or frame[at + 7] & 3 != 3:
        return 0
    promised = struct.unpack(">I", frame[at + 12 : at + 16])[0]
    return max(0, start + promised - size - _ID3V1)
