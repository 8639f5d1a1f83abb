"""A progress bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def on_terminal() -> bool:
    """Whether standard error is a terminal; a process without a console has no standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def track(items: Sequence[T] | Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield `items` and show a bar on standard error if that is a terminal.

    Example:
        >>> list(track([1, 2], "counting"))
        [1, 2]
    """
    if not on_terminal():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description, total=total, console=Console(stderr=True), transient=True)
