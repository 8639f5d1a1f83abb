"""How long should idle OpenMP threads spin before they sleep? `exdiff enhance`, beside other work and alone.

Prints Markdown.

    python benchmarks/waiting.py --threads 2 --runs 5 --model speech

Each run is a process of its own that enhances the same recording; wall and CPU time are those of the whole process, and
the median of the runs is shown. The policies take turns, so that a change of the load meets all of them. Beside
other work means that as many processes as there are cores compute all the time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

EXAMPLE = Path(__file__).parents[1] / "examples" / "speech" / "noisy" / "01_coffee_shop_5dB.flac"
POLICIES: dict[str, dict[str, str]] = {
    "spin (OMP_WAIT_POLICY=ACTIVE)": {"OMP_WAIT_POLICY": "ACTIVE"},
    "spin 300,000 times (GNU's default)": {"GOMP_SPINCOUNT": "300000"},
    "spin 30,000 times": {"GOMP_SPINCOUNT": "30000"},
    "spin 10,000 times": {"GOMP_SPINCOUNT": "10000"},
    "spin 3,000 times (exdiff's choice)": {"GOMP_SPINCOUNT": "3000"},
    "spin 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "sleep at once (PASSIVE)": {"OMP_WAIT_POLICY": "PASSIVE"},
}
BUSY = "while True: pass"


@contextmanager
def company(processes: int) -> Iterator[None]:
    """Other work on the machine."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(command: Sequence[str], policy: str, threads: int) -> tuple[float, float]:
    """Seconds of wall and CPU time of one run."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment |= POLICIES[policy] | {"OMP_NUM_THREADS": str(threads)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(command: Sequence[str], runs: int, threads: int, others: int) -> dict[str, tuple[float, float]]:
    """Medians of wall and CPU time by policy."""
    found: dict[str, list[tuple[float, float]]] = {policy: [] for policy in POLICIES}
    with company(others):
        for _ in range(runs):
            for policy, times in found.items():
                times.append(measure(command, policy, threads))
    return {policy: (median(t[0] for t in times), median(t[1] for t in times)) for policy, times in found.items()}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--steps", default="1")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--recording", type=Path, default=EXAMPLE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "exdiff", "enhance", str(options.recording), "-o", f"{folder}/out.wav"]
        command += ["--model", options.model, "--steps", options.steps, "--overwrite"]
        measure(command, next(iter(POLICIES)), options.threads)  # fills caches
        print("| the machine | idle threads | wall time, s | CPU time, s |")
        print("|---|---|---|---|")
        for name, others in (("quiet", 0), ("busy", os.cpu_count() or 1)):
            for policy, (wall, cpu) in compare(command, options.runs, options.threads, others).items():
                print(f"| {name} | {policy} | {wall:.2f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
