"""The files of a run in several processes (--jobs), each with its own model and its share of the threads.

Processes are spawned, never forked: in a fork of a process that has used OpenMP threads, the next parallel region
hangs. A process that dies, of too little memory for example, costs only the file it was working on. If it was working
on several, as on a GPU, they are begun again after all others, each of them alone in its process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import connection, get_context
from typing import Any

from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.readers import LOOK_SECONDS, suits_threads
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import MakeRunner, Marks, Runner, thread_count
from exdiff.cli.enhancing.worker import Worker
from exdiff.core.errors import ConfigError
from exdiff.core.progress import AudioBar
from exdiff.core.threads import core_count

_END_SECONDS = 20.0  # for a process to remove what is unfinished
_TICK_SECONDS = 0.02  # between two looks whether it has
MOST_BARREN = 3  # replacements for processes that die while they load, one after the other


def run_in_processes(
    work: Sequence[tuple[EnhanceTask, Marks]],
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


class _Pool:
    def __init__(
        self,
        work: Sequence[tuple[EnhanceTask, Marks]],
        options: Options,
        ledger: Ledger,
        make: MakeRunner = Runner,
        lengths: Lengths | None = None,
    ) -> None:
        self._work, self._options, self._ledger = work, options, ledger
        self._pending = deque(range(len(work)))
        self._alone: set[int] = set()  # whose process died while it had several files under way
        self._count, self._make = min(options.jobs, len(work)), make
        self._threads = max(1, (thread_count(options.threads) or core_count()) // self._count)
        self._several = suits_threads(work)
        self._context = get_context("spawn")
        self._workers: list[Worker] = []
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
                    kind, *content = worker.connection.recv()
                except (EOFError, OSError):
                    self._lost(worker)
                else:
                    self._receive(worker, kind, *content)

    def give_up(self, option: str) -> None:
        """Enter what no process is left for."""
        why = f"not begun: {self._barren} processes died while they loaded the model, one after the other; "
        why += f"is there too little memory? A smaller {option} needs less"
        for number in self._pending:
            self._ledger.add(_failure(self._work[number][0], why))

    def _readable(self) -> list[Any]:
        return connection.wait([worker.connection for worker in self._workers], LOOK_SECONDS)

    def _start(self) -> None:
        self._workers.append(Worker(self._context, self._make, self._options, self._threads, self._several))

    def _receive(self, worker: Worker, kind: str, *content: Any) -> None:
        if kind == "fatal":
            raise ConfigError(content[0])
        if kind == "ready":
            self._begin(worker, *content)
            self._fill(worker)
        elif kind == "progress":
            number, seconds = content
            worker.seconds[number] += seconds
            self._bar.describe(worker.tasks[number].source.name)
            self._show()
        else:
            self._finish(worker, *content)
            self._fill(worker)

    def _begin(self, worker: Worker, common: dict[str, Any], room: int) -> None:
        if not any(other.room for other in self._workers):
            self._bar.begin()
        worker.room = min(room, -(-len(self._work) // self._count))
        self._barren, self._ledger.common = 0, common
        while len(self._workers) < min(self._count, 1 + len(self._pending)):
            self._start()

    def _fill(self, worker: Worker) -> None:
        """Give it what it has room for, or end it."""
        while self._pending and len(worker.tasks) < self._room(worker):
            number = self._pending.popleft()
            task, marks = self._work[number]
            self._bar.describe(task.source.name)
            worker.give(number, task, marks)
        if not worker.tasks:
            self._workers.remove(worker)
            self._ended.append(worker.process)
            worker.end()

    def _room(self, worker: Worker) -> int:
        assert worker.room is not None
        return 1 if self._alone & {self._pending[0], *worker.tasks} else worker.room

    def _finish(self, worker: Worker, number: int, outcome: Outcome) -> None:
        task = worker.tasks.pop(number)
        del worker.seconds[number]
        self._lengths.settle(task.source, outcome.record.get("duration", 0.0))
        self._show()
        self._ledger.add(outcome)

    def _show(self) -> None:
        under_way = sum(sum(worker.seconds.values()) for worker in self._workers)
        self._bar.settle(self._lengths.settled, self._lengths.total, under_way)

    def _lost(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.process.join(_END_SECONDS)
        ENDING.check()  # a closing terminal ends all processes at once: that is no fault of the file
        numbers = list(worker.tasks)
        if len(numbers) == 1:
            self._finish(worker, numbers[0], _lost_with(worker.process.exitcode, worker.tasks[numbers[0]]))
        else:  # which of them it was will show
            self._alone.update(numbers)
            self._pending.extend(numbers)
        self._barren += worker.room is None
        if self._pending and (worker.room is not None or self._barren <= MOST_BARREN):
            self._start()

    def close(self) -> None:
        """End all processes and wait until they have removed what is unfinished."""
        self._bar.close()
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        processes = [*self._ended, *(worker.process for worker in self._workers)]
        deadline, outcomes = time.monotonic() + _END_SECONDS, self._unheard()
        while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
            outcomes += self._unheard()  # a process waits until somebody has read what it says
        for process in processes:
            process.kill()
            process.join()
        with suppress(ConfigError, OSError):
            for outcome in [*outcomes, *self._unheard()]:
                self._ledger.add(outcome)
        ENDING.release()

    def _unheard(self) -> list[Outcome]:
        return [outcome for worker in self._workers for outcome in worker.outcomes()]


def _lost_with(code: int | None, task: EnhanceTask) -> Outcome:
    why = f"by signal {-code}; is there too little memory?" if code and code < 0 else f"with exit code {code}"
    return replace(_failure(task, f"the process that enhanced it ended {why}"), again=True)


def _failure(task: EnhanceTask, why: str) -> Outcome:
    return Outcome.of(task, FAILED, error=why)
