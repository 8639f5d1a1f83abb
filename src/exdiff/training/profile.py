"""Where the time of a step goes, by torch's profiler: profile.txt to read, profile.json.gz for ui.perfetto.dev."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

PHASES = ("data", "forward", "backward", "average", "optimiser")
WAIT, WARMUP, ACTIVE = 1, 2, 7  # steps


@contextmanager
def profiling(out: Path | None, report: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Profile some steps into `out`; yields a function to call after every step. If `out` is None, nothing happens."""
    if out is None:
        yield lambda: None
        return
    written = []

    def write(run: profile) -> None:
        if run.step_num < WAIT + WARMUP + ACTIVE:  # the end of the run calls this too
            return
        (out / "profile.txt").write_text(describe(run), encoding="utf-8")
        run.export_chrome_trace(str(out / "profile.json.gz"))
        written.append(out / "profile.txt")
        report(f"where the time goes is in {written[-1]}")

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    plan = schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
    with profile(activities=kinds, schedule=plan, on_trace_ready=write) as run:
        yield run.step
    if not written:
        report(f"the run is too short to profile: it takes {WAIT + WARMUP + ACTIVE} steps")


def describe(run: profile) -> str:
    """Milliseconds per step and share of each phase, then the slowest operators."""
    events = run.key_averages()
    steps = [event for event in events if event.key.startswith("ProfilerStep")]
    count, whole = sum(event.count for event in steps), sum(map(_time, steps))
    found = {event.key: _time(event) for event in events if event.key in PHASES}
    found["everything else"] = max(0.0, whole - sum(found.values()))
    lines = [f"{count} steps of {whole / count / 1000:.2f} ms", "", f"{'phase':<18}{'ms a step':>10}{'share':>8}"]
    for name in (*PHASES, "everything else"):
        spent = found.get(name, 0.0)
        lines.append(f"{name:<18}{spent / count / 1000:>10.2f}{spent / whole:>8.1%}")
    order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return "\n".join([*lines, "", events.table(sort_by=order, row_limit=25, max_name_column_width=60)]) + "\n"


def _time(event: Any) -> float:
    """Microseconds: the longer of host and device time, since on a GPU the host only launches the work."""
    return max(event.cpu_time_total, event.device_time_total)
