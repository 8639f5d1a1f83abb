"""The pages of an Ogg file: its links (a file may be several streams joined), and pages that are lost or damaged.

libsndfile reads the first link only, and libogg drops a page whose checksum is wrong without a word.
Format: RFC 3533; checksum: polynomial 0x04c11db7, which zlib computes with every byte and the result mirrored.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from exdiff.audio.reading.source import file_size, read_at
from exdiff.audio.reading.tail import sound_end

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_PAGE_MAX = 27 + 255 + 255 * 255  # bytes
_NO_GRANULE = 0xFFFFFFFFFFFFFFFF


@dataclass
class Run:
    """Neighbouring pages without a gap: bytes `start` to `end`; `granule` is the position at the end of the last."""

    start: int
    end: int
    granule: int = 0


@dataclass
class Link:
    """One logical stream, or several that begin together.

    Attributes:
        codecs: of the streams ("vorbis", "opus", "flac", "speex" or "").
        first: the first packet of the first stream.
        headers: where the pages with the headers of the first stream end.
        runs: several if pages are lost.
        granule: the last position, 0 for none.
        begin: the first position after the headers.
        ended: whether the last page says that it is.
        lacking: bytes of the last page that the file does not have.
        fallen: where a page has a lower position than one before it, 0 for nowhere.
        behind: bytes behind the last page that are neither zeros nor a tag.
    """

    start: int
    codecs: list[str] = field(default_factory=list)
    first: bytes = b""
    headers: int = 0
    runs: list[Run] = field(default_factory=list)
    granule: int = 0
    begin: int = 0
    ended: bool = False
    lacking: int = 0
    behind: int = 0
    fallen: int = 0

    @property
    def end(self) -> int:
        return self.runs[-1].end if self.runs else self.start


def checksum(page: bytes) -> int:
    """Checksum of a page whose own checksum field is ignored."""
    data = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    value = zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little").translate(_MIRRORED), "big")


def read_links(file: BinaryIO, start: int = 0) -> list[Link]:
    """Every link of an Ogg file."""
    size, at = file_size(file), start
    links: list[Link] = []
    numbers: dict[int, int] = {}
    gap = False
    while at < size:
        page = _page_at(file, at)
        if page is None:
            lacking = _lacking(file, at, size)
            if links and lacking:
                links[-1].lacking = lacking
                break
            found = _next_page(file, at + 1, size)
            if found is None:
                if links:
                    links[-1].behind = sound_end(file, at, size)[0] - at
                break
            at, gap = found, True
            continue
        serial, number = struct.unpack("<II", page[14:22])
        if page[5] & 2:
            if not links or links[-1].headers or serial in numbers:
                links.append(Link(at))
                numbers = {}
            links[-1].codecs.append(_codec(page))
            links[-1].first = links[-1].first or _body(page)
        elif serial in numbers and number != (numbers[serial] + 1) & 0xFFFFFFFF:
            gap = True
        if links:
            numbers[serial] = number
            _add(links[-1], page, at, gap=gap)
            gap = False
        at += len(page)
    return links


def _add(link: Link, page: bytes, at: int, *, gap: bool) -> None:
    granule = struct.unpack("<Q", page[6:14])[0]
    if gap or not link.runs:
        link.runs.append(Run(at, at))
    run = link.runs[-1]
    run.end = at + len(page)
    link.ended = bool(page[5] & 4)
    if granule in (0, _NO_GRANULE):
        if not link.begin:
            link.headers = run.end if len(link.runs) == 1 else link.headers
        return
    if granule < 1 << 62:
        link.begin = link.begin or granule
        if granule < link.granule:
            link.fallen = at
        link.granule = run.granule = granule
    link.headers = link.headers or at


def _page_at(file: BinaryIO, at: int) -> bytes | None:
    """The whole page at `at`, or None if there is none or its checksum is wrong."""
    head = read_at(file, at, 27 + 255)
    if head[:4] != b"OggS" or len(head) < 27:
        return None
    total = 27 + head[26] + sum(head[27 : 27 + head[26]])
    page = read_at(file, at, total)
    if len(page) < total or checksum(page) != struct.unpack("<I", page[22:26])[0]:
        return None
    return page


def _lacking(file: BinaryIO, at: int, size: int) -> int:
    """Bytes by which the page at `at` is longer than the file; 0 for none."""
    head = read_at(file, at, 27 + 255)
    if head[:4] != b"OggS":
        return 0
    if len(head) < 27 or len(head) < 27 + head[26]:
        return 1
    return max(0, at + 27 + head[26] + sum(head[27 : 27 + head[26]]) - size)


def _next_page(file: BinaryIO, at: int, size: int) -> int | None:
    while at < size:
        block = read_at(file, at, 1 << 16)
        if (found := block.find(b"OggS")) >= 0:
            return at + found
        if len(block) <= 3:
            return None
        at += len(block) - 3
    return None


def _body(page: bytes) -> bytes:
    return page[27 + page[26] :]


def _codec(page: bytes) -> str:
    body = _body(page)
    names = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex   ": "speex"}
    return next((name for magic, name in names.items() if body.startswith(magic)), "")
