"""What the training options achieve on this machine: throughput, memory, and time before the first step.

    python benchmarks/training.py --recipe speech

Each form of the recipe trains some steps on synthetic examples, in its own processes, one form after another. Its log
gives the seconds of audio per second (median without the first third of the lines) and the share of time spent waiting
for data; also measured are the seconds from the start to the end of the first step, and the largest memory of one
process. The processes of a form share the threads. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from exdiff.core.machine import precision
from exdiff.core.recipe import Recipe
from exdiff.training import Options

PLAIN = "plain: fp32, one process"


@dataclass(frozen=True)
class Form:
    """Changes to a recipe, and the number of processes."""

    changes: tuple[str, ...] = ()
    processes: int = 1


FORMS = {
    PLAIN: Form(),
    "bf16": Form(("training.precision=bf16",)),
    "compile": Form(("training.compile=true",)),
    "accumulate=2": Form(("training.accumulate=2", "training.adversary=false")),
    "without the adversary": Form(("training.adversary=false",)),
    "no workers": Form(("training.workers=0",)),
    "two processes": Form(processes=2),
}


@dataclass(frozen=True)
class Result:
    """What one run achieved."""

    audio_per_second: float
    waiting: float
    first_seconds: float
    megabytes: float


def forms(recipe: Recipe, everything: bool) -> dict[str, Form]:
    """The forms that make sense for this recipe on this machine."""
    chosen = dict(FORMS)
    if not recipe.training.get("adversary"):
        del chosen["without the adversary"]
    if not everything and precision() != torch.bfloat16:
        del chosen["bf16"]  # emulated, hundreds of times slower
    return chosen


def overrides(steps: int, channels: int) -> list[str]:
    """Changes to the recipe in every form."""
    changes = [f"training.steps={steps}", "training.log_every=1", "training.validate_examples=0"]
    changes += [f"data={{type: synthetic, channels: {channels}}}", "training.precision=fp32"]
    return [*changes, "training.save_steps=0", "training.init="]


def run(recipe: str, form: Form, steps: int, threads: int, others: list[str]) -> Result:
    """Train, and read the log."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        changes = [*overrides(steps, Recipe.load(recipe).channels), *others, *form.changes]
        command = [sys.executable, "-m", "exdiff", "train", recipe, *changes]
        command += ["--out", str(out), "--device", "cpu"]
        own = {"OMP_NUM_THREADS": str(max(1, threads // form.processes))}
        began = time.time()
        with Path(folder, "stderr").open("w") as stderr:
            children = [
                subprocess.Popen(command, env={**os.environ, **own, **ranks}, stderr=stderr)
                for ranks in addresses(form.processes)
            ]
        memory, first = [], 0.0
        while any(child.returncode is None for child in children):
            first = first or (time.time() - began if (out / "log.jsonl").is_file() else 0.0)
            for child in children:
                if child.returncode is None:
                    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                    if pid:
                        child.returncode = os.waitstatus_to_exitcode(status)
                        memory.append(usage.ru_maxrss / 1024)
            time.sleep(0.01)
        if any(child.returncode for child in children):
            raise SystemExit(f"{' '.join(command)} failed:\n{Path(folder, 'stderr').read_text()}")
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steady = [line for line in lines if "loss" in line][steps // 3 :]
    rate, waiting = (median(line[key] for line in steady) for key in ("audio_per_second", "waiting"))
    return Result(rate, waiting, first, max(memory))


def addresses(processes: int) -> list[dict[str, str]]:
    """The environment of each process, as torchrun would set it."""
    if processes == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def main() -> None:
    """Measure all forms in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the recipe in every form")
    parser.add_argument("--recipe", default="speech")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--all", action="store_true", help="bf16 too where this machine is slow at it")
    options = parser.parse_args()
    recipe = Recipe.load(options.recipe, options.overrides)
    chosen = forms(recipe, options.all)
    found: dict[str, list[Result]] = {name: [] for name in chosen}
    for _ in range(options.rounds):
        for name, form in chosen.items():
            found[name].append(run(options.recipe, form, options.steps, options.threads, options.overrides))
    report(recipe, found, options.threads)


def report(recipe: Recipe, found: dict[str, list[Result]], threads: int) -> None:
    """Print medians over the rounds."""
    batch = Options.of(recipe.training)
    size = f"{batch.batch} x {batch.segment_seconds:g} s"
    print(f"Recipe {recipe.name}, a batch of {size}; {threads} threads; torch {torch.__version__}\n")
    print("| form | audio s per s | times as fast | waiting for data | first step after | memory of a process |")
    print("|---|---|---|---|---|---|")
    plain = median(result.audio_per_second for result in found[PLAIN])
    for name, results in found.items():
        rate = median(result.audio_per_second for result in results)
        waiting, first = median(r.waiting for r in results), median(r.first_seconds for r in results)
        memory = median(r.megabytes for r in results)
        print(f"| {name} | {rate:.2f} | {rate / plain:.2f} | {waiting:.1%} | {first:.0f} s | {memory:.0f} MB |")


if __name__ == "__main__":
    main()
