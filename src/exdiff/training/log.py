"""What a run writes down while it goes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from exdiff.training.options import Options
from exdiff.training.state import State


class Log:
    """JSON lines: means since the last line, rate, throughput, share of the time spent waiting for data.

    Steps that were not finite are left out of the means and counted as `skipped`.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self._path, self._options = path, options
        self._sums: dict[str, float] = {}
        self._count, self._skipped, self._waited, self._seconds = 0, 0, 0.0, 0.0

    def add(self, state: State, losses: dict[str, float], rate: float, waited: float, seconds: float) -> None:
        """Take up one step; every `log_every` steps a line is written."""
        if all(math.isfinite(value) for value in losses.values()):
            for key, value in losses.items():
                self._sums[key] = self._sums.get(key, 0.0) + value
        else:
            self._skipped += 1
        self._count, self._waited, self._seconds = self._count + 1, self._waited + waited, self._seconds + seconds
        if state.step % self._options.log_every:
            return
        audio = self._count * self._options.batch * self._options.segment_seconds
        line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "learning_rate": rate}
        line |= {k: round(v / (self._count - self._skipped), 5) for k, v in self._sums.items()}
        line |= {"skipped": self._skipped} if self._skipped else {}
        line |= {"audio_per_second": round(audio / self._seconds, 2), "waiting": round(self._waited / self._seconds, 4)}
        self.write(line)
        self._sums, self._count, self._skipped, self._waited, self._seconds = {}, 0, 0, 0.0, 0.0

    def write(self, line: dict[str, Any]) -> None:
        """Append one line to the file."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
