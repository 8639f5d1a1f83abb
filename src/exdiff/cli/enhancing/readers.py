"""Several files of a run at once, in threads of this process, for a GPU.

Each thread reads, prepares and writes a file, as if it were alone; their windows are computed together
(`inference/batcher.py`). While they wait for that, others decode and encode, which C libraries do side by side.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import Marks, Runner
from exdiff.core.errors import ConfigError
from exdiff.core.machine import choose_device
from exdiff.core.progress import AudioBar

MOST_READERS = 64  # of clips of a few seconds, as many as fill a batch although lengths differ
_FILES_EACH = 8  # at most open at once, of one input
_LOOK_SECONDS = 0.2  # between two looks whether the run has to end
_END_SECONDS = 20.0  # for all threads to remove what is unfinished


def run_in_threads(
    work: Sequence[tuple[EnhanceTask, Marks]],
    runner: Runner,
    options: Options,
    ledger: Ledger,
    lengths: Lengths | None = None,
) -> None:
    """Enhance several files at once; outcomes come in the order in which files are finished."""
    if options.threads is None and choose_device(options.loading.get("device", "auto")).type != "cpu":
        import torch

        torch.set_num_threads(1)  # each reader has one for itself
    lengths = lengths or Lengths([task.source for task, _ in work], options.raw)
    with closing(_Readers(work, runner, lengths, ledger)) as readers:
        readers.run()


class _Readers:
    def __init__(
        self, work: Sequence[tuple[EnhanceTask, Marks]], runner: Runner, lengths: Lengths, ledger: Ledger
    ) -> None:
        self._pending, self._runner, self._ledger = deque(work), runner, ledger
        self._left, self._ended = len(work), threading.Event()
        self._messages: SimpleQueue[tuple[EnhanceTask, Any]] = SimpleQueue()
        self._seconds: dict[Path, float] = {}  # done of the files that are under way
        self._lengths = lengths
        self._bar = AudioBar(self._lengths.total)
        count = min(len(work), MOST_READERS, max(1, _open_files() // _FILES_EACH))
        self._threads = [threading.Thread(target=self._read, daemon=True, name="reader") for _ in range(count)]

    def run(self) -> None:
        ENDING.hold()  # an outcome is taken from the queue and entered, or neither
        for thread in self._threads:
            thread.start()
        while self._left:
            ENDING.check()
            with suppress(Empty):
                self._receive(*self._messages.get(timeout=_LOOK_SECONDS))

    def _receive(self, task: EnhanceTask, content: Any) -> None:
        if isinstance(content, BaseException):
            raise content
        if isinstance(content, Outcome):
            self._left -= 1
            self._seconds.pop(task.source, None)
            self._lengths.settle(task.source, content.record.get("duration", 0.0))
            self._ledger.add(content)
        else:
            self._seconds[task.source] = self._seconds.get(task.source, 0.0) + content
            self._bar.describe(task.source.name)
        self._bar.settle(self._lengths.settled, self._lengths.total, sum(self._seconds.values()))

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                task, marks = self._pending.popleft()
            except IndexError:
                return

            def advance(seconds: float, task: EnhanceTask = task) -> None:
                if self._ended.is_set():
                    raise KeyboardInterrupt
                self._messages.put((task, seconds))

            try:
                self._messages.put((task, self._runner.run(task, marks, advance)))
            except BaseException as error:  # an interrupt, or whoever reads the results has enough
                self._messages.put((task, error))
                return

    def close(self) -> None:
        """End all threads, and wait until they have removed what is unfinished."""
        self._bar.close()
        self._ended.set()
        self._runner.cancel()
        deadline = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.1, deadline - time.monotonic()))
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
