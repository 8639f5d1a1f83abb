"""The iterator that streams come as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from exdiff.inference.options import Run

Item = TypeVar("Item")


class Stream(Iterator[Item]):
    """An iterator over enhanced chunks.

    Attributes:
        run: the record of this stream, which grows while it is read.

    Example:
        >>> stream = Stream(iter([1, 2]), Run(nfe=3))
        >>> list(stream), stream.run.nfe
        ([1, 2], 3)
    """

    def __init__(self, parts: Iterator[Item], run: Run) -> None:
        self._parts, self.run = parts, run

    def __next__(self) -> Item:
        return next(self._parts)
