"""The chunks of WAV, RF64, AIFF and CAF files: list them, append more, set a WAV file's channel mask."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

_LARGEST = 1 << 26  # bytes of a chunk that is copied; larger ones are not metadata
_MOST = 10_000  # chunks; sound that is taken for chunks has more
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def read_chunks(source: Path | BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the chunks of a WAV, RF64 or BW64 file, without its samples; nothing for other files."""
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            for name, start, size in _chunks(file):
                if name not in (b"data", b"fmt ", b"ds64", b"fact", b"JUNK", b"FLLR", b"PAD ") and size <= _LARGEST:
                    file.seek(start)
                    content = file.read(size)
                    if len(content) == size:
                        yield name, content
    except OSError:
        return


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(name, start of the content, its size) of each chunk, up to sound whose end nobody knows."""
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    at, long_size = 12, 0
    for _ in range(_MOST):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        if name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data":
            size = long_size if size == 0xFFFFFFFF else size
            if size == 0:  # as programs write to a pipe
                return
        yield name, at + 8, size
        at += 8 + size + size % 2


def append_chunks(path: Path, chunks: Sequence[tuple[bytes, bytes]]) -> bool:
    """Put chunks behind the samples of a WAV, RF64 or AIFF file, or before those of a CAF file.

    False if they do not fit: a WAV is less than 4 GB long, and libsndfile leaves 4 KB for them in a CAF file.
    """
    with path.open("r+b") as file:
        head = file.read(12)
        big = head[:4] == b"FORM"
        end = file.seek(0, 2)
        if head[:4] == b"caff":
            return _fill_free(file, chunks)
        if end + sum(len(content) + 9 for _, content in chunks) >= 1 << 32 and head[:4] in (b"RIFF", b"FORM"):
            return False
        if end % 2:
            file.write(b"\0")
        for name, content in chunks:
            file.write(
                struct.pack(">4sI" if big else "<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)
            )
        size = file.tell() - 8
        if head[:4] in (b"RIFF", b"FORM"):
            file.seek(4)
            file.write(struct.pack(">I" if big else "<I", size))
        elif head[:4] == b"RF64":
            file.seek(20)  # ds64 is always the first chunk, and begins with the file's size
            file.write(struct.pack("<Q", size))
    return True


def _fill_free(file: BinaryIO, chunks: Sequence[tuple[bytes, bytes]]) -> bool:
    """Put chunks into the free chunk of a CAF file. libsndfile takes those behind the samples for samples."""
    at = 8
    while True:
        file.seek(at)
        name, size = struct.unpack(">4sq", file.read(12))
        if name in (b"free", b"data"):
            break
        at += 12 + size
    fits = name == b"free"
    file.seek(at)
    for name, content in chunks if fits else ():
        if len(content) + 12 > size:
            fits = False
            continue
        file.write(struct.pack(">4sq", name, len(content)) + content)
        size -= len(content) + 12
        file.write(struct.pack(">4sq", b"free", size))
        file.seek(-12, 1)
    return fits


def set_mask(path: Path, mask: int) -> bool:
    """Write the channel mask of an extensible WAV file; False if its header has none."""
    with path.open("r+b") as file:
        for name, start, size in _chunks(file):
            if name == b"fmt " and size >= 40:
                file.seek(start)
                if struct.unpack("<H", file.read(2))[0] == _EXTENSIBLE:
                    file.seek(start + 20)
                    file.write(struct.pack("<I", mask))
                    return True
    return False
