"""Put comments and pictures into a FLAC file (RFC 9639, section 8). libsndfile writes a few tags and no picture."""

from __future__ import annotations

import errno
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

_STREAMINFO, _PADDING, _COMMENT, _PICTURE = 0, 1, 4, 6
_LARGEST = (1 << 24) - 1  # bytes of a block


def replace_blocks(source: Path, target: Path, comments: Sequence[tuple[str, str]], pictures: Sequence[bytes]) -> None:
    """Copy a FLAC file with other comments, (name, text), and picture blocks. Those over 16 MiB do not fit."""
    with source.open("rb") as file, target.open("wb") as out:
        out.write(file.read(4))
        blocks: list[tuple[int, bytes]] = []
        last = False
        while not last:
            head = file.read(4)
            if len(head) < 4:  # libsndfile writes nothing at all then
                raise OSError(errno.ENODATA, "there are no samples to write")
            last = head[0] >= 128
            blocks.append((head[0] & 127, file.read(int.from_bytes(head[1:], "big"))))
        old = next((body for kind, body in blocks if kind == _COMMENT), struct.pack("<II", 0, 0))
        vendor = old[: 4 + struct.unpack_from("<I", old)[0]]
        texts = [f"{name}={text}".encode() for name, text in comments]
        body = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        new = [(_COMMENT, vendor + struct.pack("<I", len(texts)) + body)]
        new += [(_PICTURE, picture) for picture in pictures]
        rest = [block for block in blocks if block[0] not in (_STREAMINFO, _PADDING, _COMMENT)]
        kept = [block for block in (blocks[0], *new, *rest) if len(block[1]) <= _LARGEST]
        for number, (kind, content) in enumerate(kept, 1):
            out.write(bytes([kind | (128 if number == len(kept) else 0)]) + len(content).to_bytes(3, "big") + content)
        shutil.copyfileobj(file, out, 1 << 20)
