"""The log of a run: means of losses and times, as JSON lines."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exdiff.training.options import Options


@dataclass
class RunningMeans:
    """Means over the steps since the last log line; part of the saved state, so a resumed run logs the same lines.

    Steps with a loss that is not finite are left out of the means and counted as `skipped`.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    skipped: int = 0
    waited: float = 0.0  # seconds, waiting for data
    seconds: float = 0.0

    def add(self, losses: dict[str, float], waited: float, seconds: float) -> None:
        """Include one step; `waited` and `seconds` are its times."""
        if all(math.isfinite(value) for value in losses.values()):
            for key, value in losses.items():
                self.sums[key] = self.sums.get(key, 0.0) + value
        else:
            self.skipped += 1
        self.count, self.waited, self.seconds = self.count + 1, self.waited + waited, self.seconds + seconds

    def line(self, options: Options) -> dict[str, float]:
        """Mean losses, throughput in seconds of audio per second, and the share of time spent waiting for data."""
        audio = self.count * options.batch * options.segment_seconds
        line = {k: round(v / (self.count - self.skipped), 5) for k, v in self.sums.items()}
        line |= {"skipped": self.skipped} if self.skipped else {}
        return line | {
            "audio_per_second": round(audio / self.seconds, 2),
            "waiting": round(self.waited / self.seconds, 4),
        }


class Log:
    """JSON lines in a file, written by the main process; in the others `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")

    def truncate(self, step: int, validated: int = -1) -> None:
        """Remove the lines written after a state of this step was saved, whose last validation was at `validated`."""
        if self.path is None or not self.path.is_file():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _is_kept(line, step, validated)]
        temporary = self.path.with_suffix(".jsonl.tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)


def _is_kept(line: str, step: int, validated: int) -> bool:
    try:
        table = json.loads(line)
    except ValueError:  # cut short
        return False
    if not isinstance(table, dict):
        return False
    return table.get("step", 0) <= (min(step, validated) if "validation" in table else step)
