"""Progress bars on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_BAR_AFTER_SECONDS = 2.0


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


class Pace:
    """The remaining time of work whose amount may be corrected while it goes on, from the mean speed so far.

    It counts down between reports. Work comes in large pieces (windows of some seconds), so a recent speed says little.

    Args:
        total: amount of work; None if unknown.
        now: the time, in seconds.

    Example:
        >>> pace = Pace(100.0, now=0.0)
        >>> pace.report(20.0, now=10.0)
        >>> pace.remaining(now=10.0), pace.remaining(now=13.0)
        (40.0, 37.0)
    """

    def __init__(self, total: float | None, now: float) -> None:
        self.total, self.done = total, 0.0
        self._start = self._last = now

    def report(self, done: float, now: float) -> None:
        """Set the amount that is done."""
        self.done, self._last = done, now

    def remaining(self, now: float) -> float | None:
        """Seconds; None while nothing is done, or if the amount is unknown."""
        if self.total is None or self.done <= 0:
            return None
        speed = self.done / max(self._last - self._start, 1e-9)
        return max(0.0, max(0.0, self.total - self.done) / speed - (now - self._last))


class AudioBar:
    """One bar over all seconds of audio of a run, on a terminal and after two seconds.

    Args:
        total: seconds of audio; None if unknown.
    """

    def __init__(self, total: float | None) -> None:
        self._start = time.monotonic()
        self._pace = Pace(total, self._start)
        self._settled = self._current = 0.0
        self._title, self._visible = "", on_terminal()
        self._bar: Any = None

    def begin(self) -> None:
        """Start the clock; what came before, such as loading a model, does not count in the mean speed."""
        self._pace = Pace(self._pace.total, time.monotonic())

    def describe(self, title: str) -> None:
        """Show what is being done."""
        self._title = title
        self._show()

    def advance(self, seconds: float) -> None:
        """Count audio that is done, of a file that is not finished."""
        self._current += seconds
        self._report()

    def settle(self, settled: float, total: float | None, current: float = 0.0) -> None:
        """Correct the counts after a file: seconds of finished files, of all, and of files that are being done."""
        self._settled, self._current, self._pace.total = settled, current, total
        self._report()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._visible = False

    def _report(self) -> None:
        self._pace.report(self._settled + self._current, time.monotonic())
        self._show()

    def _show(self) -> None:
        if self._bar is None and self._visible and time.monotonic() - self._start > _BAR_AFTER_SECONDS:
            self._bar = _rich_bar(lambda: self._pace.remaining(time.monotonic()))
            self._bar.start()
            self._bar.add_task("", total=self._pace.total)
        if self._bar is not None:
            from rich.markup import escape

            shown = self._pace.done if self._pace.total is None else min(self._pace.done, self._pace.total)
            self._bar.update(
                self._bar.task_ids[0], description=escape(self._title), completed=shown, total=self._pace.total
            )


def _rich_bar(remaining: Callable[[], float | None]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    class Remaining(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Any) -> Text:
            return Text(f"{_clock(remaining())} left", style="progress.remaining")

    name = TextColumn("{task.description}", table_column=Column(max_width=30, no_wrap=True, overflow="ellipsis"))
    percent = TextColumn("{task.percentage:>3.0f}%")
    columns = (name, BarColumn(bar_width=20), percent, TimeElapsedColumn(), Remaining())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _clock(seconds: float | None) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> _clock(3725.0), _clock(None)
        ('1:02:05', '-:--:--')
    """
    if seconds is None:
        return "-:--:--"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
