"""How many seconds of audio a run has: measured for some files, estimated from their sizes for the rest."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from exdiff.cli.enhancing.options import RawFormat
from exdiff.cli.enhancing.plan import is_pipe
from exdiff.core.progress import on_terminal

_LOOK_SECONDS = 2.0  # spent on opening files before the work begins
BYTES_PER_SECOND = 32_000.0  # for a suffix of which no file was measured


class Lengths:
    """Lengths of the files of a run, in seconds. Files are opened only if a bar is shown.

    Args:
        sources: the inputs.
        raw: what they hold, if it is raw PCM.

    Attributes:
        settled: seconds of the files that are finished.
    """

    def __init__(self, sources: Sequence[Path], raw: RawFormat | None = None) -> None:
        self._left: dict[Path, float | None] = {}  # seconds, where known
        self._known = 0.0  # their sum
        self._bytes: Counter[str] = Counter()  # of the others, by suffix
        self._sizes = {source: _size(source) for source in sources}
        self._rates: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # bytes and seconds by suffix
        self.settled, self._raw = 0.0, raw
        self._unknown = any(is_pipe(source) for source in sources) if on_terminal() else True
        deadline = time.monotonic() + _LOOK_SECONDS
        for source in sources:
            look = not self._unknown and time.monotonic() < deadline
            seconds = self._left[source] = self._measured(source) if look else None
            if seconds is None:
                self._bytes[source.suffix.lower()] += self._sizes[source]
            else:
                self._known += seconds

    @property
    def total(self) -> float | None:
        """Seconds of the whole run, as far as is known; None if an input is a pipe."""
        if self._unknown:
            return None
        return self.settled + self._known + sum(size / self._rate(suffix) for suffix, size in self._bytes.items())

    def settle(self, source: Path, seconds: float) -> None:
        """Count a file as finished."""
        expected = self._left.pop(source, 0.0)
        if expected is None:
            self._bytes[source.suffix.lower()] -= self._sizes[source]
        else:
            self._known -= expected
        self.settled += seconds
        self._learn(source, seconds)

    def _measured(self, source: Path) -> float | None:
        from exdiff.audio import AudioReader

        try:
            with AudioReader(source, raw=self._raw) as reader:
                seconds = reader.seconds
        except Exception:
            return 0.0  # it will fail
        if seconds is not None:
            self._learn(source, seconds)
        return seconds

    def _learn(self, source: Path, seconds: float) -> None:
        if seconds > 0:
            known = self._rates[source.suffix.lower()]
            known[0] += self._sizes[source]
            known[1] += seconds

    def _rate(self, suffix: str) -> float:
        """Bytes per second."""
        known = self._rates.get(suffix)
        return known[0] / known[1] if known else BYTES_PER_SECOND


def _size(source: Path) -> int:
    try:
        return source.stat().st_size
    except OSError:
        return 0
