"""Several files of a process at once, in threads, for a GPU.

Each thread reads, prepares and writes a file, as if it were alone; their windows are computed together
(`inference/batcher.py`). While they wait for that, others decode and encode, which C libraries do side by side.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import Any

from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask, is_pipe
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import Marks, Runner
from exdiff.core.errors import ConfigError
from exdiff.core.machine import choose_device
from exdiff.core.progress import AudioBar

MOST_READERS = 64  # of clips of a few seconds, as many as fill a batch although lengths differ
LOOK_SECONDS = 0.2  # between two looks whether the run has to end
_FILES_EACH = 8  # at most open at once, of one input
_END_SECONDS = 20.0  # for all threads to remove what is unfinished


def run_in_threads(
    work: Sequence[tuple[EnhanceTask, Marks]],
    runner: Runner,
    options: Options,
    ledger: Ledger,
    lengths: Lengths | None = None,
) -> None:
    """Enhance several files at once; outcomes come in the order in which files are finished."""
    lengths = lengths or Lengths([task.source for task, _ in work], options.raw)
    with closing(_Run(work, runner, options, lengths, ledger)) as run:
        run.run()


def suits_threads(work: Sequence[tuple[EnhanceTask, Marks]]) -> bool:
    """Whether there are several files, and no pipe: a thread that waits for one cannot be interrupted."""
    return len(work) > 1 and not any(is_pipe(task.source) for task, _ in work)


def reader_count() -> int:
    """Files that a process may have under way at once: no more than it may open."""
    return min(MOST_READERS, max(1, _open_files() // _FILES_EACH))


class Readers:
    """Threads that enhance a file each.

    Args:
        runner: that does it.
        options: of the run.
        tell: is called, by any of the threads, with the number of a task and what there is to say: seconds of audio
            that are done, the outcome, or what has ended the thread: an interrupt, or nobody reads the results.
    """

    def __init__(self, runner: Runner, options: Options, tell: Callable[[int, Any], None]) -> None:
        self._runner, self._tell, self._most = runner, tell, reader_count()
        self._work: SimpleQueue[tuple[int, EnhanceTask, Marks] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way, self._counting = 0, threading.Lock()
        self._ended = threading.Event()
        if options.threads is None and choose_device(options.loading.get("device", "auto")).type != "cpu":
            import torch

            torch.set_num_threads(1)  # each reader has one for itself

    def give(self, number: int, task: EnhanceTask, marks: Marks) -> None:
        """Enhance a file as soon as a thread is free."""
        self._work.put((number, task, marks))
        self._count(1)
        if len(self._threads) < min(self._most, self._under_way):
            thread = threading.Thread(target=self._read, daemon=True, name="reader")
            thread.start()
            self._threads.append(thread)

    def _count(self, change: int) -> None:
        with self._counting:
            self._under_way += change

    def _read(self) -> None:
        while (work := self._work.get()) is not None and not self._ended.is_set():
            number, task, marks = work

            def advance(seconds: float, number: int = number) -> None:
                if self._ended.is_set():
                    raise KeyboardInterrupt
                self._tell(number, seconds)

            try:
                outcome = self._runner.run(task, marks, advance)
            except BaseException as error:
                self._tell(number, error)
                return
            self._count(-1)
            self._tell(number, outcome)

    def close(self) -> None:
        """End all threads, and wait until they have removed what is unfinished."""
        self._ended.set()
        self._runner.cancel()
        for _ in self._threads:
            self._work.put(None)
        deadline = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))


class _Run:
    """All files of a run, by the readers of this process."""

    def __init__(
        self,
        work: Sequence[tuple[EnhanceTask, Marks]],
        runner: Runner,
        options: Options,
        lengths: Lengths,
        ledger: Ledger,
    ) -> None:
        self._work, self._ledger, self._left = work, ledger, len(work)
        self._messages: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._readers = Readers(runner, options, lambda number, content: self._messages.put((number, content)))
        self._seconds: dict[int, float] = {}  # done of the files that are under way
        self._lengths = lengths
        self._bar = AudioBar(self._lengths.total)

    def run(self) -> None:
        ENDING.hold()  # an outcome is taken from the queue and entered, or neither
        for number, (task, marks) in enumerate(self._work):
            self._readers.give(number, task, marks)
        while self._left:
            ENDING.check()
            with suppress(Empty):
                self._receive(*self._messages.get(timeout=LOOK_SECONDS))

    def _receive(self, number: int, content: Any) -> None:
        task, _ = self._work[number]
        if isinstance(content, BaseException):
            raise content
        if isinstance(content, Outcome):
            self._left -= 1
            self._seconds.pop(number, None)
            self._lengths.settle(task.source, content.record.get("duration", 0.0))
            self._ledger.add(content)
        else:
            self._seconds[number] = self._seconds.get(number, 0.0) + content
            self._bar.describe(task.source.name)
        self._bar.settle(self._lengths.settled, self._lengths.total, sum(self._seconds.values()))

    def close(self) -> None:
        self._bar.close()
        self._readers.close()
        with suppress(Empty, ConfigError, OSError):
            while True:  # what was finished meanwhile has its name; what failed may have failed because of the end
                content = self._messages.get_nowait()[1]
                if isinstance(content, Outcome) and content.status != FAILED:
                    self._ledger.add(content)
        ENDING.release()


def _open_files() -> int:
    """How many files this process may open."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 16 if limit == resource.RLIM_INFINITY else limit
