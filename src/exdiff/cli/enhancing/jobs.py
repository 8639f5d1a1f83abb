"""The files of a run in several processes (--jobs), each with its own model and its share of the threads.

Processes are spawned, never forked: in a fork of a process that has used OpenMP threads, the next parallel region
hangs. A process that dies, of too little memory for example, costs only the file it was working on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import connection, get_context
from typing import Any

from exdiff.cli.common import one_line
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import MakeRunner, Marks, Runner, thread_count
from exdiff.core.errors import ConfigError, ExDiffError
from exdiff.core.progress import AudioBar
from exdiff.core.threads import core_count

Work = tuple[EnhanceTask, Marks]

_TELL_SECONDS = 0.25  # between two reports of progress
_LOOK_SECONDS = 0.2  # between two looks whether the run has to end
_END_SECONDS = 20.0  # for a process to remove what is unfinished
MOST_BARREN = 3  # replacements for processes that die while they load, one after the other


def run_in_processes(
    work: Sequence[Work],
    options: Options,
    ledger: Ledger,
    make: MakeRunner = Runner,
    lengths: Lengths | None = None,
    option: str = "--jobs",
) -> None:
    """Enhance files in `options.jobs` processes; outcomes come in the order in which files are finished.

    Args:
        work: what to do.
        options: of the run.
        ledger: receives the outcomes.
        make: makes the runner of each process, from the options and a number of threads.
        lengths: of the files, for the bar.
        option: of the command, which sets the number of processes.

    Raises:
        ConfigError: nothing can be done, because of the model or an option.
    """
    pool = _Pool(work, options, ledger, make, lengths)
    with closing(pool):
        pool.run()
        pool.give_up(option)


class _Worker:
    """A process and what it is doing."""

    def __init__(self, context: Any, make: MakeRunner, options: Options, threads: int) -> None:
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, make, options, threads), daemon=True)
        self.process.start()
        other.close()
        self.ready, self.seconds = False, 0.0
        self.task: EnhanceTask | None = None

    def tell(self, work: Work | None) -> None:
        """Send what to do next; that the process is gone, `recv` says."""
        with suppress(OSError):
            self.connection.send(work)

    def outcomes(self) -> Iterator[Outcome]:
        """Of files that it has finished and nobody has heard of yet."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                kind, content = self.connection.recv()
                if kind == "outcome" and content.status != FAILED:  # which may be because of the end
                    yield content


class _Pool:
    def __init__(
        self,
        work: Sequence[Work],
        options: Options,
        ledger: Ledger,
        make: MakeRunner = Runner,
        lengths: Lengths | None = None,
    ) -> None:
        self._pending, self._options, self._ledger = deque(work), options, ledger
        self._count, self._make = min(options.jobs, len(work)), make
        self._threads = max(1, (thread_count(options.threads) or core_count()) // self._count)
        self._context = get_context("spawn")
        self._workers: list[_Worker] = []
        self._ended: list[Any] = []
        self._barren = 0
        self._lengths = lengths or Lengths([task.source for task, _ in work], options.raw)
        self._bar = AudioBar(self._lengths.total)

    def run(self) -> None:
        ENDING.hold()  # an outcome is received and entered, or neither
        # One first: what it measures about the machine, undisturbed, is what the others find in the cache.
        self._start()
        while self._workers:
            ENDING.check()
            readable = self._readable()
            for worker in [w for w in self._workers if w.connection in readable]:
                try:
                    kind, content = worker.connection.recv()
                except (EOFError, OSError):
                    self._lost(worker)
                else:
                    self._receive(worker, kind, content)

    def give_up(self, option: str) -> None:
        """Enter what no process is left for."""
        why = f"not begun: {self._barren} processes died while they loaded the model, one after the other; "
        why += f"is there too little memory? A smaller {option} needs less"
        for task, _ in self._pending:
            self._ledger.add(_failure(task, why))

    def _readable(self) -> list[Any]:
        return connection.wait([worker.connection for worker in self._workers], _LOOK_SECONDS)

    def _start(self) -> None:
        self._workers.append(_Worker(self._context, self._make, self._options, self._threads))

    def _receive(self, worker: _Worker, kind: str, content: Any) -> None:
        if kind == "fatal":
            raise ConfigError(content)
        if kind == "ready":
            if not any(other.ready for other in self._workers):
                self._bar.begin()
            worker.ready, self._barren, self._ledger.common = True, 0, content
            while len(self._workers) < min(self._count, 1 + len(self._pending)):
                self._start()
            self._next(worker)
        elif kind == "progress":
            worker.seconds += content
            self._show()
        else:
            self._finish(worker, content)
            self._next(worker)

    def _next(self, worker: _Worker) -> None:
        worker.task, worker.seconds = None, 0.0
        if not self._pending:
            self._workers.remove(worker)
            self._ended.append(worker.process)
            worker.tell(None)
            worker.connection.close()
            return
        work = self._pending.popleft()
        worker.task = work[0]
        self._bar.describe(worker.task.source.name)
        worker.tell(work)

    def _finish(self, worker: _Worker, outcome: Outcome) -> None:
        assert worker.task is not None
        self._lengths.settle(worker.task.source, outcome.record.get("duration", 0.0))
        worker.seconds = 0.0
        self._show()
        self._ledger.add(outcome)

    def _show(self) -> None:
        self._bar.settle(self._lengths.settled, self._lengths.total, sum(worker.seconds for worker in self._workers))

    def _lost(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.join(_END_SECONDS)
        ENDING.check()  # a closing terminal ends all processes at once: that is no fault of the file
        code = worker.process.exitcode
        why = f"by signal {-code}; is there too little memory?" if code and code < 0 else f"with exit code {code}"
        if worker.task is not None:
            self._finish_lost(worker, f"the process that enhanced it ended {why}")
        self._barren += not worker.ready
        if self._pending and (worker.ready or self._barren <= MOST_BARREN):
            self._start()

    def _finish_lost(self, worker: _Worker, why: str) -> None:
        assert worker.task is not None
        self._finish(worker, replace(_failure(worker.task, why), again=True))

    def close(self) -> None:
        """End all processes and wait until they have removed what is unfinished."""
        self._bar.close()
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for process in [*self._ended, *(worker.process for worker in self._workers)]:
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        with suppress(ConfigError, OSError):
            for outcome in [outcome for worker in self._workers for outcome in worker.outcomes()]:
                self._ledger.add(outcome)
        ENDING.release()


def _failure(task: EnhanceTask, why: str) -> Outcome:
    return Outcome.of(task, FAILED, error=why)


def serve(pipe: connection.Connection, make: MakeRunner, options: Options, threads: int) -> None:
    """A process of --jobs: enhance what comes through `pipe` until None comes, or nothing more can come."""
    ENDING.install(everywhere=True)
    try:
        try:
            runner = make(options, threads)
        except (ExDiffError, OSError) as error:
            pipe.send(("fatal", one_line(error)))
            return
        pipe.send(("ready", runner.common))
        work: Work | None
        while (work := pipe.recv()) is not None:
            pipe.send(("outcome", runner.run(*work, _teller(pipe))))
            ENDING.release()
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        return  # the run is over; whoever began it says so


def _teller(pipe: connection.Connection) -> Callable[[float], None]:
    """Send progress, not too often."""
    waiting, last = 0.0, 0.0

    def tell(seconds: float) -> None:
        nonlocal waiting, last
        waiting += seconds
        if time.monotonic() - last > _TELL_SECONDS:
            pipe.send(("progress", waiting))
            waiting, last = 0.0, time.monotonic()

    return tell
