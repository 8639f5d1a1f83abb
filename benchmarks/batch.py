"""How much faster are several workers of `exdiff batch` than one, on short files? Prints Markdown.

    python benchmarks/batch.py --engine ray --workers 2 --files 160 --runs 5

Each worker has one thread, so as many idle cores as workers are needed. The files are pieces of the examples, all of
one length. The rate is that of the second half of the files, by when every worker has loaded its model and computes:
starting Python, Ray and the workers is left out, and shown as what the whole command takes. One worker and several take
turns, so that a change of the load meets both; the medians of the runs are compared.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from exdiff.audio import decode, encode

EXAMPLES = Path(__file__).parents[1] / "examples" / "speech" / "noisy"


class Run(NamedTuple):
    """One command: files per second in its second half, and the seconds that all of it took."""

    rate: float
    seconds: float


def make_files(folder: Path, count: int, seconds: float) -> None:
    """`count` pieces of `seconds` from the examples, as flac."""
    sources = [decode(path) for path in sorted(EXAMPLES.glob("*.flac"))]
    for number in range(count):
        samples, rate = sources[number % len(sources)]
        length = round(seconds * rate)
        start = number * 997 % max(1, samples.shape[-1] - length)
        encode(folder / f"{number:04d}.flac", samples[:, start : start + length], rate)


def measure(source: Path, engine: str, workers: int, options: Sequence[str]) -> Run:
    """Run the command with so many workers of one thread, into a new folder."""
    with tempfile.TemporaryDirectory() as target:
        command = [sys.executable, "-m", "exdiff", "batch", str(source), target, "--json", "--engine", engine]
        command += ["--workers", str(workers), "--threads", str(workers), *options]
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
            assert process.stdout is not None
            times = [time.perf_counter() for _ in process.stdout]
        seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"the command failed: {' '.join(command)}")
    half = len(times) // 2
    return Run((len(times) - half) / (times[-1] - times[half - 1]), seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("local", "ray"), default="ray")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("options", nargs="*", help="further options of the command, after --, as in -- --steps 0")
    given = parser.parse_args()
    runs: dict[int, list[Run]] = {1: [], given.workers: []}
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), given.files, given.seconds)
        for _ in range(given.runs):
            for workers, done in runs.items():
                done.append(measure(Path(folder), given.engine, workers, given.options))
    print(f"{given.files} files of {given.seconds:g} s, engine {given.engine}, medians of {given.runs} runs:\n")
    print("| workers | files per second | x real time | the whole command |\n|---|---|---|---|")
    rates = {workers: median(run.rate for run in done) for workers, done in runs.items()}
    for workers, rate in rates.items():
        whole = median(run.seconds for run in runs[workers])
        print(f"| {workers} | {rate:.2f} | {rate * given.seconds:.1f} | {whole:.1f} s |")
    ratios = sorted(b.rate / a.rate for a, b in zip(*runs.values(), strict=True))
    print(f"\n{rates[given.workers] / rates[1]:.2f} times one worker; in pairs {ratios[0]:.2f} to {ratios[-1]:.2f}.")


if __name__ == "__main__":
    main()
