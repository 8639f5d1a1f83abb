"""Ctrl-C and SIGTERM end a run cleanly."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Catches signals: after the first one (`requested`) the loop stops between two steps, a second one ends at once.

    With several processes, a request to one stops all of them (`agreed_by_all`) after the same step.

    Outside the main thread, where Python allows no handlers, signals are handled as before.

    Example:
        >>> with Stop() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> stop.requested
        True
    """

    def __init__(self) -> None:
        self.requested, self.agreed_by_all = False, False
        self._old = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._request) for number in _SIGNALS if _is_heeded(number)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def _is_heeded(number: int) -> bool:
    """A shell script ignores SIGINT for what it starts in the background; that stays so."""
    return signal.getsignal(number) is not signal.SIG_IGN
