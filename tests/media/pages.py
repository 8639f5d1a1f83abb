"""Surgery on the pages of Ogg files."""

from __future__ import annotations

import struct


def ogg_pages(data: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(data):
        lengths = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(lengths) + sum(lengths)
        pages.append(data[at:end])
        at = end
    return pages


def _remainder(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ 0x04C11DB7 if value & 1 << 31 else value << 1) & 0xFFFFFFFF
    return value


_REMAINDERS = [_remainder(byte << 24) for byte in range(256)]


def _crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _REMAINDERS[value >> 24 ^ byte]
    return value


def edit_page(page: bytes, serial: int | None = None, granule: int | None = None, flags: int | None = None) -> bytes:
    if flags is not None:
        page = page[:5] + bytes([flags]) + page[6:]
    if granule is not None:
        page = page[:6] + struct.pack("<q", granule) + page[14:]
    if serial is not None:
        page = page[:14] + struct.pack("<I", serial) + page[18:]
    page = page[:22] + bytes(4) + page[26:]
    return page[:22] + struct.pack("<I", _crc(page)) + page[26:]


def chained(data: bytes, links: int = 2) -> bytes:
    """The same sound again and again, each link with another serial number."""
    more = [edit_page(page, serial=4711 + link) for link in range(1, links) for page in ogg_pages(data)]
    return data + b"".join(more)


def no_eos(data: bytes) -> bytes:
    *pages, last = ogg_pages(data)
    return b"".join([*pages, edit_page(last, flags=last[5] & ~4)])
