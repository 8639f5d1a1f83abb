"""The engine `ray`: each worker is an actor with its own model, on this machine or on any machine of a cluster.

Actors are told file by file what to do, so that of an actor that dies no more than what it was doing is done again, and
a file that kills its actor is known: Ray Data repeats a whole block of files, and for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from exdiff import __version__
from exdiff.cli.batching.attempts import Attempt
from exdiff.cli.batching.plan import Sizes
from exdiff.cli.common import one_line, say
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.jobs import MOST_BARREN
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.readers import MOST_READERS
from exdiff.cli.enhancing.report import FAILED, Outcome
from exdiff.cli.enhancing.run import MakeRunner, Marks
from exdiff.core.errors import ConfigError, ExDiffError
from exdiff.core.progress import AudioBar
from exdiff.core.threads import core_count, limit_spinning

_LOOK_SECONDS = 0.2  # between two looks whether the run has to end
_END_SECONDS = 20.0  # for all workers to remove what is unfinished
_LOOK_FOR_SECONDS = 10.0  # at an address
_SAY_SECONDS = 60.0
# Read when Ray is imported. No telemetry; no warning of a change to come; and nothing about workers that died, which
# Ray prints on standard output, among the results.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
_STORE_BYTES = 80_000_000  # of shared memory, in which nothing but outcomes lies


class RemoteWorker:
    """What an actor does; `load` comes first, `end` may come at any time."""

    def load(self, make: MakeRunner, options: Options, threads: int) -> tuple[str, Any]:
        """Load the model: "ready" with the fields that records share, or "fatal" with the reason."""
        limit_spinning()
        try:
            self._runner = make(options, threads)
        except (ExDiffError, OSError) as error:
            return "fatal", one_line(error)
        return "ready", self._runner.common

    def run(self, task: EnhanceTask, marks: Marks) -> Outcome | None:
        """Enhance a file; None if the run ends meanwhile."""
        try:
            return self._runner.run(task, marks, lambda seconds: None)
        except KeyboardInterrupt:
            return None

    def end(self) -> None:
        """Give up what is being done."""
        ENDING.wanted = True
        self._runner.cancel()


@contextmanager
def cluster(address: str | None, workers: int | None, threads: int | None) -> Iterator[None]:
    """A connection to Ray, and without `address` a Ray of our own on this machine, which ends with it.

    Raises:
        ConfigError: Ray is not installed, or nothing answers at the address.
    """
    os.environ.update(QUIET)
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs the package ray; type: pip install 'exdiff[batch]'") from None
    if address is not None:
        _knock(address)
    own = {
        "num_cpus": max(threads or core_count(), workers or 1),
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
    }
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else own))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray cannot be started or joined: {' '.join(str(error).split())}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own handler leaves files behind
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConfigError if nothing listens there, which Ray itself takes minutes to notice."""
    host, _, port = address.rpartition(":")
    if not host:
        return  # `auto`: Ray looks for a cluster on this machine
    try:
        socket.create_connection((host, int(port)), _LOOK_FOR_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}; give HOST:PORT or auto") from None


class Actors:
    """The files of one attempt, divided among actors.

    Args:
        attempt: what to do.
        workers: the number of actors; None for one a core or, where a GPU is wanted and there, one a GPU.
    """

    def __init__(self, attempt: Attempt, workers: int | None) -> None:
        import ray

        self._ray, self._attempt, self._pending = ray, attempt, deque(attempt.work)
        self._lengths = Sizes(attempt.work)
        self._bar = AudioBar(self._lengths.total)
        self._count, self._threads, gpus = self._share(workers)
        # On a GPU, windows of several files are computed together.
        self._at_once = MOST_READERS if gpus and not attempt.alone else 1
        self._new: Any = ray.remote(RemoteWorker).options(
            num_cpus=self._threads,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=self._at_once + 1,  # one for `end`
        )
        self._actors: set[Any] = set()
        # By what Ray promises: the actor, and its file or, while it loads, None.
        self._calls: dict[Any, tuple[Any, EnhanceTask | None]] = {}
        self._running, self._barren, self._ready = 0, 0, False

    def _share(self, workers: int | None) -> tuple[int, int, float]:
        """The number of actors, and the threads and GPUs of each."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cores = self._attempt.options.threads or sum(int(machine.get("CPU", 0)) for machine in machines)
        wanted = self._attempt.options.loading.get("device", "auto") in ("auto", "cuda")
        gpus = sum(machine.get("GPU", 0) for machine in machines) if wanted else 0
        count = min(workers or int(gpus) or max(1, cores), len(self._pending))
        largest = max(int(machine.get("CPU", 0)) for machine in machines)
        return count, max(1, min(cores // count, largest)), min(1, gpus / count)

    def run(self) -> None:
        """Do all the work.

        Raises:
            ConfigError: nothing can be done, because of the model or an option.
        """
        ENDING.hold()  # an outcome is received and entered, or neither
        self._start()  # one first: what it measures about the machine, undisturbed, is what the others find
        begun, said = time.monotonic(), False
        while self._calls and (self._pending or self._running):
            ENDING.check()
            ready, rest = self._ray.wait(list(self._calls), num_returns=1, timeout=_LOOK_SECONDS)
            if ready and rest:  # what else is ready by now
                ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
            for promise in ready:
                self._receive(promise, *self._calls.pop(promise))
            if not (said or self._ready) and time.monotonic() - begun > _SAY_SECONDS:
                say(f"no worker has begun yet; `ray status` shows whether {self._threads} CPUs are free on a machine")
                said = True
        for task, _ in self._pending:
            why = "not begun: every worker died before it had loaded the model; is exdiff there, and enough memory?"
            self._attempt.ledger.add(Outcome.of(task, FAILED, error=why))

    def _start(self) -> None:
        actor = self._new.remote()
        self._actors.add(actor)
        self._calls[actor.load.remote(self._attempt.make, self._attempt.options, self._threads)] = actor, None

    def _receive(self, promise: Any, actor: Any, task: EnhanceTask | None) -> None:
        self._running -= task is not None
        try:
            content = self._ray.get(promise)
        except self._ray.exceptions.RayTaskError as error:  # a bug, or another exdiff there
            why = f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())}"
            raise ConfigError(f"a worker failed: {why}; is exdiff {__version__} on all machines?") from error
        except self._ray.exceptions.RayError:
            self._lost(actor, task)
            return
        if task is not None:
            self._finish(task, content)
            self._give(actor)
            return
        kind, content = content
        if kind == "fatal":
            raise ConfigError(content)
        self._attempt.ledger.common = content
        if not self._ready:
            self._bar.begin()
            self._ready = True
            for _ in range(min(self._count - 1, len(self._pending) - 1)):
                self._start()
        self._barren = 0
        for _ in range(self._at_once):
            self._give(actor)

    def _give(self, actor: Any) -> None:
        if self._pending:
            task, marks = self._pending.popleft()
            self._bar.describe(task.source.name)
            self._calls[actor.run.remote(task, marks)] = actor, task
            self._running += 1

    def _finish(self, task: EnhanceTask, outcome: Outcome) -> None:
        self._lengths.settle(task.source, outcome.record.get("duration", 0.0))
        self._bar.settle(self._lengths.settled, self._lengths.total)
        self._attempt.ledger.add(outcome)

    def _lost(self, actor: Any, task: EnhanceTask | None) -> None:
        if task is None:
            self._barren += 1
        else:
            why = "the worker that enhanced it ended; is there too little memory?"
            self._finish(task, Outcome.of(task, FAILED, error=why, again=True))
        if actor in self._actors:
            self._actors.remove(actor)
            self._ray.kill(actor)  # it may live where it cannot be reached
            if self._pending and self._barren <= MOST_BARREN:
                self._start()

    def close(self) -> None:
        """End all actors, and wait until they have removed what is unfinished."""
        self._bar.close()
        busy = [promise for promise, (_, task) in self._calls.items() if task is not None]
        if busy:
            for actor in self._actors:
                actor.end.remote()
            for promise in self._ray.wait(busy, num_returns=len(busy), timeout=_END_SECONDS)[0]:
                with suppress(self._ray.exceptions.RayError, ConfigError, OSError):
                    outcome = self._ray.get(promise)
                    if outcome is not None and outcome.status != FAILED:  # which may be because of the end
                        self._attempt.ledger.add(outcome)
        for actor in self._actors:
            self._ray.kill(actor)
        ENDING.release()
