"""Replace the comments of an Ogg Vorbis file without touching its sound (RFC 3533; Vorbis I, section 5).

FFmpeg's copy of a Vorbis stream is up to a block too long, and libsndfile writes only a few tags and no cover.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<4sBBqIIIB")  # capture pattern, version, flags, granule, serial, sequence, CRC, segments
_POLYNOMIAL = 0x04C11DB7
_PAGE = 255 * 255  # the most bytes in a page


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (_POLYNOMIAL if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_TABLE = _crc_table()


def _crc(data: bytes, value: int = 0) -> int:
    for byte in data:
        value = ((value << 8) & 0xFFFFFFFF) ^ _TABLE[(value >> 24) ^ byte]
    return value


def replace_comments(source: Path, target: Path, comments: Sequence[tuple[str, str]]) -> None:
    """Copy an Ogg Vorbis file with other comments: (name, text)."""
    with source.open("rb") as file, target.open("wb") as out:
        first, number = _page(file)
        serial = struct.unpack_from("<I", first, 14)[0]
        out.write(first)
        body, pages = b"", 0
        while len(packets := _packets(body)) < 2:
            page, number = _page(file)
            if not page:
                raise OSError(errno.ENODATA, "there are no samples to write")
            body += page[26:27] + page[27 : 27 + page[26]] + page[27 + page[26] :]
            pages += 1
        headers = [_comment_packet(packets[0], comments), packets[1]]
        written = _write_headers(out, serial, headers)
        shift = written - pages
        while True:
            page, number = _page(file)
            if not page:
                return
            out.write(_renumber(page, number, number + shift) if shift else page)


def _page(file: BinaryIO) -> tuple[bytes, int]:
    """The next page and its sequence number."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return b"", 0
    lengths = file.read(head[26])
    return head + lengths + file.read(sum(lengths)), struct.unpack_from("<I", head, 18)[0]


def _packets(pages: bytes) -> list[bytes]:
    """The complete packets in pages, each of which is given as its number of segments, their lengths and its body."""
    packets, at, packet = [], 0, b""
    while at < len(pages):
        lengths = pages[at + 1 : at + 1 + pages[at]]
        at += 1 + len(lengths)
        for length in lengths:
            packet += pages[at : at + length]
            at += length
            if length < 255:
                packets.append(packet)
                packet = b""
    return packets


def _comment_packet(old: bytes, comments: Sequence[tuple[str, str]]) -> bytes:
    vendor = old[7 : 11 + struct.unpack_from("<I", old, 7)[0]]
    entries = [f"{name}={text}".encode() for name, text in comments]
    body = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return b"\x03vorbis" + vendor + struct.pack("<I", len(entries)) + body + b"\x01"


def _write_headers(out: BinaryIO, serial: int, packets: Sequence[bytes]) -> int:
    """Write packets as pages from number 1 on; the number of pages."""
    lengths, body = b"", b"".join(packets)
    for packet in packets:
        lengths += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    at, pages, ended = 0, 0, True
    while lengths:
        part, lengths = lengths[:255], lengths[255:]
        size = sum(part)
        granule = 0 if any(length < 255 for length in part) else -1  # -1: no packet ends in the page
        head = _HEAD.pack(b"OggS", 0, 0 if ended else 1, granule, serial, pages + 1, 0, len(part))
        page = head + part + body[at : at + size]
        out.write(page[:22] + struct.pack("<I", _crc(page)) + page[26:])
        at, pages, ended = at + size, pages + 1, part[-1] < 255
    return pages


def _times(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo that of the CRC."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (_POLYNOMIAL | 1 << 32 if a & 0x80000000 else 0)
        b >>= 1
    return product


def _shift(count: int) -> int:
    """The polynomial x to the power `8 * count`, by squaring."""
    power, base = 1, 0x100
    while count:
        if count & 1:
            power = _times(power, base)
        base, count = _times(base, base), count >> 1
    return power


def _renumber(page: bytes, old: int, new: int) -> bytes:
    """The page with another sequence number. The CRC is linear, so only the change has to be summed."""
    change = struct.pack("<I", old ^ new)
    crc = struct.unpack_from("<I", page, 22)[0] ^ _times(_crc(change), _shift(len(page) - 22))
    return page[:18] + struct.pack("<II", new, crc) + page[26:]
