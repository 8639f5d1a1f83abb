"""The log of a run: means of losses and times, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exdiff.training.options import Options


class RunningMeans:
    """Means over the steps since the last log line; part of the saved state, so a resumed run logs the same lines.

    Steps with a loss that is not finite are left out of the means and counted as `skipped`. The sums stay on the device
    until `read` waits for them.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums = torch.zeros(1)  # of each loss; the last one counts skipped steps
        self.count = 0
        self.waited, self.seconds = 0.0, 0.0  # for data, and altogether

    def add(self, losses: Mapping[str, Tensor], waited: float) -> None:
        """Include one step, which waited some seconds for data."""
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        finite = values.isfinite().all()
        row = torch.cat([values.where(finite, 0.0), (~finite).float()[None]])
        if not self._names:
            self._names, self._sums = list(losses), torch.cat([torch.zeros(len(losses)), self._sums])
        self._sums = self._sums.to(row.device, non_blocking=True) + row
        self.count, self.waited = self.count + 1, self.waited + waited

    def read(self) -> tuple[dict[str, float], int]:
        """The sum of each loss, and the number of skipped steps; waits until the device has computed them."""
        *sums, skipped = self._sums.tolist()
        return dict(zip(self._names, sums, strict=True)), round(skipped)

    def line(self, options: Options) -> dict[str, float]:
        """Mean losses, throughput in seconds of audio per second, and the share of time spent waiting for data."""
        sums, skipped = self.read()
        audio = self.count * options.batch * options.segment_seconds
        line = {name: round(value / (self.count - skipped), 5) for name, value in sums.items() if self.count > skipped}
        line |= {"skipped": skipped} if skipped else {}
        return line | {
            "audio_per_second": round(audio / self.seconds, 2),
            "waiting": round(self.waited / self.seconds, 4),
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        sums, skipped = self.read()
        times = {"waited": self.waited, "seconds": self.seconds}
        return {"sums": sums, "count": self.count, "skipped": skipped, **times}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> RunningMeans:
        """What `state_dict` has described."""
        means = cls()
        means._names = list(state["sums"])
        means._sums = torch.tensor([*state["sums"].values(), state["skipped"]], dtype=torch.float32)
        means.count, means.waited, means.seconds = state["count"], state["waited"], state["seconds"]
        return means


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
