"""Which work of a visitor goes on: it ends when the visitor stops it or leaves, since others wait for their turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from exdiff.core.errors import ExDiffError


class StoppedError(ExDiffError):
    """The visitor has ended it."""


class Visitors:
    """What is under way, by visitor.

    Example:
        >>> visitors = Visitors()
        >>> with visitors.run("a") as check:
        ...     check()
        ...     visitors.stop("b")
        ...     check()
    """

    def __init__(self) -> None:
        self._runs: defaultdict[str | None, set[Event]] = defaultdict(set)

    @contextmanager
    def run(self, visitor: str | None) -> Iterator[Callable[[], None]]:
        """Gives a function that raises StoppedError from when the visitor has stopped this work."""
        stopped = Event()
        self._runs[visitor].add(stopped)

        def check() -> None:
            if stopped.is_set():
                raise StoppedError("it was stopped")

        try:
            yield check
        finally:
            self._runs[visitor].discard(stopped)
            if not self._runs[visitor]:
                del self._runs[visitor]

    def stop(self, visitor: str | None) -> None:
        """End what this visitor has begun."""
        for stopped in tuple(self._runs.get(visitor, ())):
            stopped.set()
