"""Headers of MPEG audio frames, layers 1 to 3 (ISO 11172-3, 13818-3), and of ADTS frames (ISO 14496-3)."""

from __future__ import annotations

from dataclasses import dataclass

_RATES = (44100, 48000, 32000)
_KBIT = {
    (1, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


@dataclass(frozen=True)
class Header:
    """One frame. `size` is 0 for free format; `key` is what stays the same within a stream."""

    codec: str
    rate: int
    channels: int
    samples: int
    size: int
    key: int
    info_at: int = 0


def parse_header(data: bytes) -> Header | None:
    """The frame header in the first bytes of `data`, or None.

    Example:
        >>> header = parse_header(bytes.fromhex("fffb9064"))
        >>> header.codec, header.rate, header.channels, header.samples, header.size
        ('mp3', 44100, 2, 1152, 417)
    """
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    if layer == 0:
        return _adts_header(data) if data[1] & 0xF0 == 0xF0 else None
    if version == 1 or data[2] >> 4 == 15 or data[2] >> 2 & 3 == 3 or data[3] & 3 == 2:
        return None
    generation = 1 if version == 3 else 2
    rate = _RATES[data[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}[version]
    kbit = (0, *_KBIT[generation, layer])[data[2] >> 4]
    padding = data[2] >> 1 & 1
    samples = {3: 384, 2: 1152, 1: 1152 if generation == 1 else 576}[layer]
    size = (12000 * kbit // rate + padding) * 4 if layer == 3 else samples * 125 * kbit // rate + padding
    mono = data[3] >> 6 == 3
    side = (17 if mono else 32) if generation == 1 else (9 if mono else 17)
    key = version << 8 | layer << 6 | (data[2] >> 2 & 3) << 4 | mono << 1
    name = {3: "mp1", 2: "mp2", 1: "mp3"}[layer]
    return Header(name, rate, 1 if mono else 2, samples, size if kbit else 0, key, 4 + side)


def _adts_header(data: bytes) -> Header | None:
    index = data[2] >> 2 & 15
    if len(data) < 7 or index >= len(_ADTS_RATES):
        return None
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    channels = (data[2] & 1) << 2 | data[3] >> 6
    samples = 1024 * ((data[6] & 3) + 1)
    if size < 7:
        return None
    return Header("aac", _ADTS_RATES[index], channels, samples, size, 1 << 12 | index << 4 | channels)
