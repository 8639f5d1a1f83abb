"""Which loudspeaker each channel is for: names, WAV masks, and the orders in which codecs store channels.

Blocks in this package are always in WAV order, that of the bits in a WAV file's channel mask. FFmpeg's order is the
same, so only libsndfile's Vorbis and Opus (Vorbis order) have to be translated. FLAC stores WAV order, in Ogg too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exdiff.core.errors import AudioError

# Bit i of a WAV file's dwChannelMask stands for NAMES[i] (Microsoft, "Multiple Channel Audio Data and WAVE Files").
NAMES = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)

# Also what FLAC prescribes for files without a mask (RFC 9639, section 9.1.3).
_DEFAULTS: dict[int, tuple[str, ...]] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

# Section 4.3.9 of the Vorbis I specification; Opus mapping family 1 is the same (RFC 7845, section 5.1.1.2).
_VORBIS: dict[int, tuple[str, ...]] = {
    **{n: _DEFAULTS[n] for n in (1, 2, 4)},
    3: ("FL", "FC", "FR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}

_SIDE_AS_BACK = {"SL": "BL", "SR": "BR"}


def default_layout(channels: int) -> tuple[str, ...]:
    """The usual loudspeakers of a file with that many channels and no mask, in WAV order; () above 8.

    Example:
        >>> default_layout(6)
        ('FL', 'FR', 'FC', 'LFE', 'BL', 'BR')
    """
    return _DEFAULTS.get(channels, ())


def vorbis_layout(channels: int) -> tuple[str, ...]:
    """The loudspeakers of a Vorbis or Opus stream in the order of its channels; () above 8.

    Example:
        >>> vorbis_layout(3)
        ('FL', 'FC', 'FR')
    """
    return _VORBIS.get(channels, ())


def mask_of(layout: Sequence[str]) -> int:
    """The WAV channel mask of `layout`; 0 if it holds a name that WAV does not have.

    Example:
        >>> hex(mask_of(("FL", "FR", "FC", "LFE", "SL", "SR")))
        '0x60f'
    """
    if len(set(layout)) != len(layout) or not set(layout) <= set(NAMES):
        return 0
    return sum(1 << NAMES.index(name) for name in layout)


def layout_of(mask: int, channels: int) -> tuple[str, ...]:
    """The layout of a WAV channel mask; () if its number of bits is not `channels`.

    Example:
        >>> layout_of(0x33, 4), layout_of(0x33, 3)
        (('FL', 'FR', 'BL', 'BR'), ())
    """
    names = tuple(name for bit, name in enumerate(NAMES) if mask >> bit & 1)
    return names if len(names) == channels and mask < 1 << len(NAMES) else ()


def wav_order(layout: Sequence[str]) -> tuple[str, ...]:
    """`layout` sorted into WAV order; unknown names keep their order behind the known ones.

    Example:
        >>> wav_order(("FL", "FC", "FR", "LFE"))
        ('FL', 'FR', 'FC', 'LFE')
    """
    return tuple(sorted(layout, key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES)))


def back_for_side(layout: Sequence[str]) -> tuple[str, ...]:
    """`layout` with its side channels called back channels, if it has no back channels.

    Example:
        >>> back_for_side(("FL", "FR", "FC", "LFE", "SL", "SR"))
        ('FL', 'FR', 'FC', 'LFE', 'BL', 'BR')
    """
    if {"BL", "BR", "BC"} & set(layout):
        return tuple(layout)
    return tuple(_SIDE_AS_BACK.get(name, name) for name in layout)


def reorder(block: np.ndarray, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """The channels of `block` [C, T] moved from the order of `source` to that of `target`.

    Back and side channels stand for each other if only one of the two layouts has them.

    Raises:
        AudioError: the layouts do not hold the same loudspeakers, or `block` has another number of channels.

    Example:
        >>> reorder(np.array([[1], [2], [3]]), ("FL", "FC", "FR"), ("FL", "FR", "FC")).tolist()
        [[1], [3], [2]]
    """
    source, target = tuple(source), tuple(target)
    if source == target or not source or not target:
        return block
    if set(source) != set(target):
        source, target = back_for_side(source), back_for_side(target)
    if sorted(source) != sorted(target) or len(set(source)) != len(source) or len(source) != len(block):
        raise AudioError(
            f"{len(block)} channels ({' '.join(source)}) cannot be arranged as {' '.join(target)}; choose wav or flac"
        )
    return block[[source.index(name) for name in target]]


def ffmpeg_name(layout: Sequence[str], channels: int) -> str:
    """How FFmpeg's functions take a layout: its channels joined by "+", or only their number.

    Example:
        >>> ffmpeg_name(("FL", "FR", "LFE"), 3), ffmpeg_name((), 3)
        ('FL+FR+LFE', '3 channels')
    """
    return "+".join(layout) if layout else f"{channels} channels"
