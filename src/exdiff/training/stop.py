"""Ctrl-C and SIGTERM end a run in good order."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Stop:
    """The first signal is a wish (`asked`), which the loop fulfils between two steps; a second one ends all at once.

    With several processes the wish of one becomes that of all (`agreed`), at the same step.

    Outside of the main thread, where Python allows no handlers, nothing changes.

    Example:
        >>> with Stop() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> stop.asked
        True
    """

    def __init__(self) -> None:
        self.asked, self.agreed = False, False
        self._old = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
