"""Checks and measures everything that exdiff does on a GPU, in about two minutes. Prints Markdown.

    python benchmarks/gpu.py [--manifest DATA/manifest.csv] [--json FILE]

Enhancing is compared with the CPU and with itself, many files with one; training has to learn, resume and never wait
for the device, and its speed is measured with the recipe `speech`. Each check is a row; one that fails does not stop
the others, and makes the exit code 1. With `--device cpu` everything is smaller, and with `--quick` it is only tried.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from exdiff.core.threads import limit_spinning

if __name__ == "__main__":
    limit_spinning()  # as the command does; once torch is loaded it is too late

import torch
from gpu_checks import enhancing, speed, training
from gpu_checks.setup import Failed, Result, Setup

from exdiff.core.errors import ConfigError
from exdiff.core.machine import choose_device

QUICK_SECONDS = 5.0
WIDTH = 100  # of a message or a kernel's name in the table


def machine(setup: Setup) -> Result:
    """Which device, torch and driver this is."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    if not setup.cuda:
        threads = torch.get_num_threads()
        return f"{setup.device}: {platform.machine()}, {threads} threads; torch {torch.__version__}", versions
    about = torch.cuda.get_device_properties(setup.device)
    driver = "unknown"
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    versions |= {"device": about.name, "cuda": str(torch.version.cuda), "driver": driver}
    memory = f"{about.total_memory / 2**30:.0f} GiB"
    return f"{about.name}, {memory}; torch {torch.__version__}, CUDA {torch.version.cuda}, driver {driver}", versions


def memory(setup: Setup) -> Result:
    """The largest memory that all of it took."""
    if setup.cuda:
        used, kept = torch.cuda.max_memory_allocated(setup.device), torch.cuda.max_memory_reserved(setup.device)
        return f"{used / 2**30:.2f} GiB used, {kept / 2**30:.2f} GiB reserved", {"used": used, "reserved": kept}
    if sys.platform == "win32":
        return "not applicable: Windows does not say", {}
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{used / 2**30:.2f} GiB of the process", {"used": used}


CHECKS: dict[str, Callable[[Setup], Result]] = {
    "device": machine,
    "enhance in fp32": enhancing.fp32,
    "enhance in bf16": enhancing.bf16,
    "enhance twice": enhancing.twice,
    "tensors on the device": enhancing.tensors,
    "many files": enhancing.many_files,
    "train `debug`": partial(training.learns, adversary=False),
    "train `debug` with discriminators": partial(training.learns, adversary=True),
    "resume": training.resumes,
    "mixer, `synthetic`": training.mixes_synthetic,
    "mixer, `mix`": training.mixes_clips,
    "train `speech`": partial(speed.speed, adversary=False),
    "train `speech` with discriminators": partial(speed.speed, adversary=True),
    "train `speech` with discriminators on `mix`": partial(speed.speed, adversary=True, clips=True),
    "fused LSTM": speed.fused,
    "synchronising calls": speed.never_waits,
    "time of a step": speed.where,
    "many files, several processes": enhancing.in_processes,
    "peak memory": memory,
}


def check(name: str, function: Callable[[Setup], Result], setup: Setup) -> dict[str, Any]:
    """One row: whether the check succeeded, what it says, and its numbers."""
    start = time.monotonic()
    try:
        text, values = function(setup)
        ok = True
    except Exception as error:  # whatever it is, the other checks go on
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        text, values, ok = f"FAILED: {kind}{' '.join(str(error).split())[: 3 * WIDTH]}", {}, False
    return {"check": name, "ok": ok, "result": text, "took": time.monotonic() - start, "values": values}


def report(rows: list[dict[str, Any]]) -> str:
    """The table, and below it the kernels that take most time."""
    lines = ["| check | result | s |", "|---|---|---|"]
    lines += [f"| {row['check']} | {escaped(row['result'])} | {row['took']:.1f} |" for row in rows]
    kernels: list[Mapping[str, Any]] = [kernel for row in rows for kernel in row["values"].get("kernels", [])]
    if kernels:
        lines += ["", "| kernel | ms a step | share |", "|---|---|---|"]
    for kernel in kernels:
        name = escaped(kernel["name"][:WIDTH])
        lines.append(f"| `{name}` | {kernel['milliseconds']:.2f} | {kernel['share']:.1%} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """For a cell of a table."""
    return text.replace("|", "\\|")


def main() -> None:
    """Check everything and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the recipe `speech`")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, mps or cpu")
    parser.add_argument("--batch", type=int, help="examples of a step of `speech`; 64 on CUDA, elsewhere 4")
    parser.add_argument("--manifest", type=Path, help="clips to mix, see docs/data.md")
    parser.add_argument("--seconds", type=float, default=60.0, help="that all of it should take")
    parser.add_argument("--quick", action="store_true", help="only try whether everything runs")
    parser.add_argument("--json", type=Path, help="also write all numbers here")
    options = parser.parse_args()
    try:
        device = choose_device(options.device)
    except ConfigError as error:
        parser.error(str(error))
    default = 2 if options.quick else 64 if device.type == "cuda" else 4
    seconds = min(options.seconds, QUICK_SECONDS) if options.quick else options.seconds
    setup = Setup(device, options.quick, seconds, options.batch or default, options.manifest, tuple(options.overrides))
    rows = [check(name, function, setup) for name, function in CHECKS.items()]
    print(report(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    failed = [row["check"] for row in rows if not row["ok"]]
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
