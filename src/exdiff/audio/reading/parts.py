"""A stretch of a file that holds one piece of sound, with a header that libsndfile can trust."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` of a file, read behind `head` in place of the file's own header.

    Attributes:
        container: short name of the container.
        declared: samples per channel that the header announces, if it can be believed; None to take the bytes.
        layout: channel names in the order of the file.
        note: one line about what was wrong, "" for nothing.
        next: where another piece of sound begins behind this one, 0 for nowhere.
        format: the body of the "fmt " chunk, for another data chunk behind this one.
    """

    head: bytes
    start: int
    end: int
    container: str
    declared: int | None = None
    layout: tuple[str, ...] = ()
    note: str = ""
    next: int = 0
    format: bytes = b""
