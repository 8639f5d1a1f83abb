"""Small runs of the debug recipe, here and in processes of their own that can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from exdiff.core.recipe import Recipe

QUICK = ["training.segment_seconds=0.1", "training.log_every=2", "training.warmup=1", "training.batch=2"]
QUICK += ["training.workers=0", "training.save_steps=0", "training.validate_steps=0", "training.validate_examples=2"]
PATIENCE = 300  # seconds, on a machine that has other things to do

CHILD = """
import multiprocessing, os, sys
multiprocessing.set_start_method("fork", force=True)  # and not through the server that this process came from
os.dup2(os.open({errors!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
os.environ.update({variables!r})
sys.argv = {arguments!r}
from exdiff.cli import main
main()
"""


@pytest.fixture
def recipe():
    """`recipe("key=value", ...)` is the debug recipe made quick, and changed."""
    return lambda *overrides: Recipe.load("debug", [*QUICK, *overrides])


@pytest.fixture
def log():
    """`log(folder)` -> the lines of a run."""

    def read(out):
        return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]

    return read


@pytest.fixture
def lines(log):
    """`lines(folder)` -> those about training; others tell where it began, or how validation went."""
    return lambda out: [line for line in log(out) if "loss" in line]


@pytest.fixture
def content():
    """`content(folder)` -> all leaves of a saved state but its clocks."""

    def flat(value, prefix=""):
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if pairs is None:
            return {prefix: value}
        return {k: v for key, part in pairs for k, v in flat(part, f"{prefix}.{key}").items()}

    def read(out):
        leaves = flat(torch.load(out / "state.pt", weights_only=True))
        return {k: v for k, v in leaves.items() if not k.endswith((".seconds", ".waited"))}

    return read


@pytest.fixture
def same(content):
    """`same(a, b)` fails unless the states of two runs are equal to the bit."""

    def compare(a, b):
        one, other = content(a), content(b)
        assert one.keys() == other.keys()
        for key, value in one.items():
            equal = torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
            assert equal, key

    return compare


class Child:
    """`exdiff train debug ...` in a process of its own."""

    def __init__(self, context, out: Path, arguments, variables) -> None:
        self.out, self.errors = out, out.with_name(f"{out.name}.{variables.get('RANK', 0)}.err")
        command = ["exdiff", "train", "debug", *QUICK, *arguments, "--out", str(out), "--device", "cpu"]
        code = CHILD.format(errors=str(self.errors), variables=variables, arguments=command)
        self.process = context.Process(target=exec, args=(code,))
        self.process.start()

    def end(self) -> int | None:
        """Its exit code, after it has ended by itself."""
        self.process.join(PATIENCE)
        return self.process.exitcode

    def said(self) -> str:
        return self.errors.read_text(encoding="utf-8")

    def reach(self, step: int) -> None:
        """Wait until its log has come to a step, or it has ended."""
        limit = time.monotonic() + PATIENCE
        while self.process.is_alive():
            with suppress(FileNotFoundError):
                text = (self.out / "log.jsonl").read_text(encoding="utf-8")
                if text.count("\n") and json.loads(text[: text.rindex("\n")].splitlines()[-1]).get("step", 0) >= step:
                    return
            assert time.monotonic() < limit, self.said()
            time.sleep(0.002)

    def send(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


@pytest.fixture
def start():
    """`start(out, "key=value", ..., RANK=0)` -> a Child; none of them outlives the test."""
    context = multiprocessing.get_context("forkserver")  # torch is imported once for all of them
    context.set_forkserver_preload(["exdiff.cli", "exdiff.training", "accelerate"])
    children = []

    def begin(out, *arguments, **variables):
        children.append(Child(context, out, arguments, {k: str(v) for k, v in variables.items()}))
        return children[-1]

    yield begin
    for child in children:
        if child.process.is_alive():
            child.send(signal.SIGKILL)
        child.process.join(PATIENCE)
        child.process.close()


@pytest.fixture
def start_two(start):
    """`start_two(out, "key=value", ...)` -> two Children that train together."""

    def begin(out, *arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "OMP_NUM_THREADS": 1}
        return [start(out, *arguments, RANK=rank, LOCAL_RANK=rank, **address) for rank in (0, 1)]

    return begin
