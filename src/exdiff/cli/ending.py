"""Signals that end a run: all clean up like Ctrl-C, none is lost, and a second one does not disturb the cleaning up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ending:
    """Whether the run has to end.

    A handler that raises is not enough: what it raises within a callback of a C library, soundfile's say, or within a
    finaliser is printed and lost, and what it raises between the creation of a file and the line that remembers it
    leaves that file behind. So it is also noted here, the work looks here from block to block, and holds the signals
    back except where it reads and computes. Signals reach the main thread alone; in others `hold` does nothing.
    """

    def __init__(self) -> None:
        self.wanted = self._held = False

    def install(self, *, everywhere: bool = False) -> None:
        """Handle the signals. Those that are ignored stay so (nohup, background jobs), unless `everywhere`."""
        for number in END_SIGNALS:
            if everywhere or number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The first signal is an interrupt; further ones, as a closing terminal sends, are ignored."""
        if self.wanted:
            return
        self.wanted = True
        if not self._held and not _in_callback(frame):
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.wanted:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """From here to `release`, signals wait: a file gets its name and its line in the report, or neither."""
        if threading.current_thread() is threading.main_thread():
            self._held = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Raise at once, also while signals are held: around what may take long and leaves nothing behind."""
        held = self._held
        if threading.current_thread() is threading.main_thread():
            self._held = False
        try:
            self.check()
            yield
            self.check()
        finally:
            self._held = held

    def release(self) -> None:
        """Raise KeyboardInterrupt if a signal has come meanwhile."""
        self._held = False
        self.check()

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """`items`, with a check before each.

        Example:
            >>> list(Ending().watch("ab"))
            ['a', 'b']
        """
        for item in items:
            self.check()
            yield item


def _in_callback(frame: FrameType | None) -> bool:
    """Whether soundfile reads or writes through a Python file here."""
    while frame is not None:
        if frame.f_code.co_name.startswith("vio_"):
            return True
        frame = frame.f_back
    return False


ENDING = Ending()
