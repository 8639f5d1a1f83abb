"""Compare the samples decoded with every independent record of how many there should be.

One function decides, for all formats: too few samples are an error (in salvage mode: reported as missing), more samples
than a header says are kept and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from exdiff.audio.reading.source import read_at
from exdiff.core.errors import AudioError

_UNKNOWN_SIZE = 0x7FFF0000  # bytes; programs that write to a pipe cannot know the size, and put a number above this
_SLACK = 8  # bytes; a missing padding byte or half a frame is not a truncation
_MP4_ATOMS = (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"styp")


@dataclass(frozen=True)
class Witness:
    """An independent record of the length.

    Attributes:
        source: what says so, for messages ("its header", "the last time stamp").
        frames: samples per channel.
        slack: samples that may be missing, because the record is not exact.
        surplus: samples that may be there beyond the record; None if more is normal.
    """

    source: str
    frames: int
    slack: int = 0
    surplus: int | None = None


def verify(
    name: str,
    sample_rate: int,
    total: int,
    witnesses: Iterable[Witness],
    *,
    failure: str = "",
    salvage: bool = False,
) -> tuple[list[str], list[tuple[float, float]]]:
    """Check `total` decoded samples against `witnesses`; gives (notes, missing).

    Args:
        name: of the file, for messages.
        sample_rate: Hz.
        total: samples per channel that were decoded.
        witnesses: the records; the longest that is not satisfied counts.
        failure: the decoder's message, if it stopped with an error.
        salvage: report what is missing instead of raising an error.

    Raises:
        AudioError: samples are missing, and `salvage` is not set.

    Example:
        >>> verify("x.wav", 8000, 8000, [Witness("its header", 16000)], salvage=True)
        ([], [(1.0, 1.0)])
        >>> verify("x.mp3", 8000, 16000, [Witness("its header", 8000, surplus=1152)])[0]
        ['its header says 1.00 s, but it holds 2.00 s: all is read']
    """
    witnesses = list(witnesses)
    lacking = [witness for witness in witnesses if total < witness.frames - witness.slack]
    worst = max(lacking, key=lambda witness: witness.frames, default=None)
    if worst is not None or failure:
        whole = worst.frames if worst else total
        if not salvage:
            raise AudioError(f"{name}: {_complaint(sample_rate, total, worst, failure)}")
        return [], [(total / sample_rate, max(0.0, (whole - total) / sample_rate))]
    notes = []
    for witness in witnesses:
        if witness.surplus is not None and total > witness.frames + witness.surplus:
            said, found = witness.frames / sample_rate, total / sample_rate
            notes.append(f"{witness.source} says {said:.2f} s, but it holds {found:.2f} s: all is read")
    return notes, []


def _complaint(sample_rate: int, total: int, worst: Witness | None, failure: str) -> str:
    promised = f" of {worst.frames / sample_rate:.2f} s (according to {worst.source})" if worst else ""
    reason = f" ({failure})" if failure else ""
    return (
        f"truncated or damaged{reason}: it ends after {total / sample_rate:.2f} s{promised}; "
        "copy it again, or keep the rest with --salvage"
    )


def missing_bytes(file: BinaryIO, size: int) -> str:
    """What is missing at the end of a RIFF, AIFF, MP4, Matroska or ASF file according to its own sizes; "" for nothing.

    Args:
        file: an open file that can seek.
        size: its length in bytes.
    """
    head = read_at(file, 0, 32)
    if head[4:8] in _MP4_ATOMS:
        lack = _mp4_beyond(file, size)
    elif head[:4] == b"\x1aE\xdf\xa3":
        lack = _matroska_beyond(file, size)
    elif head[:4] in (b"RIFF", b"FORM"):
        count = int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
        lack = count + 8 - size if _SLACK < count < _UNKNOWN_SIZE else 0
    elif head[:4] == b"0&\xb2u":
        lack = _asf_beyond(file, size)
    else:
        lack = 0
    return f"at least {lack} bytes are missing at its end" if lack > _SLACK else ""


def _mp4_beyond(file: BinaryIO, size: int) -> int:
    at = 0
    while len(header := read_at(file, at, 16)) >= 8:
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if length < 8 or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in name):
            return 0  # to the end of the file, or not a box
        at += length
    return at - size


def _matroska_beyond(file: BinaryIO, size: int) -> int:
    """The size of the segment, which follows the EBML header."""
    at = 4
    for mark in (b"", b"\x18S\x80g"):
        head = read_at(file, at, 12)
        if head[: len(mark)] != mark or len(head) < 12:
            return 0
        first = head[len(mark)]
        count = 9 - first.bit_length()
        if count > 8:
            return 0
        field = head[len(mark) : len(mark) + count]
        length = int.from_bytes(field, "big") & (1 << 7 * count) - 1
        at += len(mark) + count
        if mark and length == (1 << 7 * count) - 1:
            return 0  # unknown
        at += length
    return at - size


def _asf_beyond(file: BinaryIO, size: int) -> int:
    """The size in the File Properties object."""
    block = read_at(file, 0, 1 << 16)
    at = block.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(block) < at + 92:
        return 0
    live = block[at + 88] & 1
    return 0 if live else int.from_bytes(block[at + 40 : at + 48], "little") - size
