"""Tags of any name in an MP4 file, stored as Apple's programs do ("----" atoms). FFmpeg reads them only."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

_WHERE = (b"moov", b"udta", b"meta", b"ilst")


def add_tags(path: Path, tags: Mapping[str, str]) -> bool:
    """Append tags to a file whose index is its last box, as FFmpeg writes it; False for other files."""
    with path.open("r+b") as file:
        end, at = file.seek(0, 2), 0
        while at + 8 <= end:
            file.seek(at)
            size, name = struct.unpack(">I4s", file.read(8))
            if size == 1:
                size = struct.unpack(">Q", file.read(8))[0]
            if name == b"moov" and at + size == end:
                file.seek(at)
                moov = bytearray(file.read(size))
                if not _insert(moov, b"".join(_atom(key, text) for key, text in tags.items())):
                    return False
                file.seek(at)
                file.write(moov)
                return True
            at += max(size, 8)
    return False


def _insert(moov: bytearray, atoms: bytes) -> bool:
    """Put atoms at the end of the tag list in a `moov` box, and lengthen the boxes around it."""
    starts, at, end = [0], 8, len(moov)
    for name in _WHERE[1:]:
        while at + 8 <= end and moov[at + 4 : at + 8] != name:
            at += max(8, struct.unpack_from(">I", moov, at)[0])
        if at + 8 > end:
            return False
        starts.append(at)
        end = at + struct.unpack_from(">I", moov, at)[0]
        at += 12 if name == b"meta" else 8  # `meta` has a version and flags
    moov[end:end] = atoms
    for start in starts:
        struct.pack_into(">I", moov, start, struct.unpack_from(">I", moov, start)[0] + len(atoms))
    return True


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, name) + content


def _atom(key: str, text: str) -> bytes:
    mean, name = _box(b"mean", bytes(4) + b"com.apple.iTunes"), _box(b"name", bytes(4) + key.encode())
    return _box(b"----", mean + name + _box(b"data", struct.pack(">II", 1, 0) + text.encode()))
