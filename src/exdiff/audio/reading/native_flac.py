"""FLAC files: joined ones, unknown lengths, and the MD5 sum of the samples."""

from __future__ import annotations

from typing import BinaryIO

from exdiff.audio.layouts import default_layout, layout_of
from exdiff.audio.reading.chain import ChainSource, Piece
from exdiff.audio.reading.ffmpeg_source import FFmpegSource
from exdiff.audio.reading.integrity import Witness
from exdiff.audio.reading.soundfile_source import SoundFileSource
from exdiff.audio.reading.source import Source, read_at, window
from exdiff.audio.reading.tail import sound_end

_MARK = b"fLaC\x00\x00\x00\x22"  # and the header of STREAMINFO, which always comes first
_COMMENT = 4  # type of the block with the tags
_MASK = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK="


def open_flac(file: BinaryIO, name: str, start: int, size: int, *, salvage: bool) -> Source | None:
    """The source of a FLAC file whose first byte is at `start`; None if it does not begin as one."""
    starts = _starts(file, start, size)
    if not starts:
        return None

    def open_piece(number: int) -> Source:
        begin = starts[number]
        end, note = sound_end(file, begin, [*starts[1:], size][number])
        info = read_at(file, begin + 8, 34).ljust(34, b"\0")
        total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
        channels = (info[12] >> 1 & 7) + 1
        witnesses = (Witness("STREAMINFO", total),) if total else ()
        layout = _layout(file, begin, channels)
        part = window(file, begin, end)
        if salvage:  # libFLAC stops at the first damaged frame, FFmpeg finds the next one
            source = FFmpegSource(part, name, None, format="flac", salvage=True)
            for witness in witnesses:
                source.add_witness(witness)
            return source
        return SoundFileSource(
            part, name, "flac", layout=layout, witnesses=witnesses, digest=info[18:34], salvage=salvage, note=note
        )

    if len(starts) == 1:
        return open_piece(0)
    pieces = [Piece(lambda number=number: open_piece(number)) for number in range(len(starts))]
    return ChainSource(name, pieces, note=f"{len(starts)} files joined: all are read", salvage=salvage)


def _starts(file: BinaryIO, start: int, size: int) -> list[int]:
    """Where each FLAC file in this one begins."""
    found, at = [], start
    while at < size:
        block = read_at(file, at, 1 << 20)
        place = block.find(_MARK)
        while place >= 0:
            found.append(at + place)
            place = block.find(_MARK, place + 1)
        if len(block) < len(_MARK):
            break
        at += len(block) - len(_MARK) + 1
    return found


def _layout(file: BinaryIO, start: int, channels: int) -> tuple[str, ...]:
    """From the tag that encoders write for unusual layouts, else the usual one."""
    at, kind = start + 4, 0
    while not kind & 0x80:
        head = read_at(file, at, 4)
        if len(head) < 4:
            break
        kind, length = head[0], int.from_bytes(head[1:], "big")
        if kind & 0x7F == _COMMENT:
            block = read_at(file, at + 4, min(length, 1 << 20))
            place = block.upper().find(_MASK)
            if place >= 0:
                digits = block[place + len(_MASK) :][:12].split(b"\0")[0]
                return layout_of(_number(digits), channels) or default_layout(channels)
        at += 4 + length
    return default_layout(channels)


def _number(text: bytes) -> int:
    """The hexadecimal number at the beginning of `text`."""
    digits = text.lower().removeprefix(b"0x")
    count = next((index for index, byte in enumerate(digits) if byte not in b"0123456789abcdef"), len(digits))
    return int(digits[:count] or b"0", 16)
