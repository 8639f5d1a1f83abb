"""Where the time of a step goes, by torch's profiler: profile.txt to read, profile.json.gz for ui.perfetto.dev."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, schedule

PHASES = ("data", "forward", "backward", "average", "optimiser")
BESIDE = "ahead"  # the next batch, which a thread makes meanwhile
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
    threads = _ExperimentalConfig(profile_all_threads=True)  # the batches made ahead are another thread's
    with profile(activities=kinds, schedule=plan, on_trace_ready=write, experimental_config=threads) as run:
        yield run.step
    if not written:
        report(f"the run is too short to profile: it takes {WAIT + WARMUP + ACTIVE} steps")


def describe(run: Any) -> str:
    """Milliseconds per step and share of each phase, then the slowest operators."""
    events = [event for event in run.events() if event.device_type.name == "CPU"]
    steps = [_length(event) for event in events if event.name.startswith("ProfilerStep")]
    host = {name: sum(_length(e) for e in events if e.name == name) for name in PHASES}
    host["everything else"] = max(0.0, sum(steps) - sum(host.values()))
    device, gpu = device_times(events), torch.cuda.is_available()
    title = f"{'phase':<18}{'ms a step':>10}{'share':>8}" + (f"{'GPU ms':>10}" if gpu else "")
    lines = [f"{len(steps)} steps of {sum(steps) / len(steps) / 1000:.2f} ms", "", title]
    for name, spent in host.items():
        line = f"{name:<18}{spent / len(steps) / 1000:>10.2f}{spent / sum(steps):>8.1%}"
        lines.append(line + (f"{device.get(name, 0.0) / len(steps) / 1000:>10.2f}" if gpu else ""))
    if gpu:
        beside = device.get(BESIDE, 0.0) / len(steps) / 1000
        lines += [
            "",
            f"GPU ms: of the kernels that a phase launches; the batches made ahead take {beside:.2f} beside them",
        ]
    order = "self_device_time_total" if gpu else "self_cpu_time_total"
    table = run.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)
    return "\n".join([*lines, "", table]) + "\n"


def device_times(events: Iterable[Any]) -> dict[str, float]:
    """Microseconds of the device's work by the phase that has launched it.

    An operator belongs to the phase during which it begins, in its own thread or, since autograd has threads of its
    own, in the one that runs the phases. The device itself may be far behind.
    """
    events = list(events)
    names = (*PHASES, BESIDE)
    spans = [event for event in events if event.name in names]
    times: dict[str, float] = {}
    for event in events:
        kernels = sum(kernel.duration for kernel in event.kernels)
        if not kernels or event.name in names or event.name.startswith("ProfilerStep"):
            continue
        around = [s for s in spans if s.time_range.start <= event.time_range.start < s.time_range.end]
        own = [s for s in around if s.thread == event.thread]
        phase = next((s.name for s in own or around if own or s.name != BESIDE), "everything else")
        times[phase] = times.get(phase, 0.0) + kernels
    return times


def _length(event: Any) -> float:
    """Microseconds."""
    return event.time_range.end - event.time_range.start
