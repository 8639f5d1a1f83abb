"""Computes together what several calls ask for, so that short signals fill a GPU as well as a long one.

A call says that it takes part, submits items and waits for their results. One thread computes: it takes items of one
kind and of similar sizes, of each size in the order in which they came, as soon as they fill a batch, or as soon as no
more can come because every call waits. The thread belongs to the batcher, is started by the first item and ends with
the batcher.

Not here: what an item is and how a batch is computed (`generation.py`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from threading import Condition
from typing import Generic, NamedTuple, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

# How long a batch that is not full waits for items of a call that is busy with something else.
_PATIENCE_SECONDS = 3.0  # there is one call: its batches, and so their rounding, do not depend on the time
_HURRY_SECONDS = 0.005  # there are several: the device should not stand still
_PASSED_OVER = 16  # batches without it, after which an item is in the next one
_SIMILAR = 0.75  # of the largest size in a batch: every item costs as much as the largest
# Too little memory, in the words of CUDA's libraries. cuDNN looks for an engine that needs less, and says if none does.
_NO_MEMORY = ("out of memory", "ALLOC_FAILED", "unable to find an engine")


class _Job(NamedTuple):
    item: object
    size: int
    number: int  # of the batch that was next when the item came
    future: Future


class _Choice(NamedTuple):
    total: float  # of the sizes
    queues: list[deque[_Job]]  # of a kind; the smallest size first
    most: int  # items in a batch
    full: bool


def default_batch(device: torch.device) -> int:
    """Windows of ten seconds or so that are computed at once; on a CPU more than one gain little."""
    if device.type == "cuda":
        return max(1, min(32, torch.cuda.get_device_properties(device).total_memory >> 31))
    return 1 if device.type == "cpu" else 8


class Batcher(Generic[Item, Result]):
    """Batches of items from several threads.

    Args:
        compute: gives the results of items of one kind, in their order.
        room: of a batch, to which each item contributes the largest size; an item that is larger makes a batch of its
            own. It is halved when there is too little memory on the device.

    Example:
        >>> batcher = Batcher(lambda words: [f"{word} of {len(words)}" for word in words], room=2)
        >>> with batcher.call():
        ...     futures = [batcher.submit(word, "kind", 1) for word in ("one", "two", "three")]
        ...     [batcher.result(future) for future in futures]
        ['one of 2', 'two of 2', 'three of 1']
    """

    def __init__(self, compute: Callable[[Sequence[Item]], Sequence[Result]], room: int) -> None:
        self._compute, self._room = compute, room
        self._changed = Condition()
        self._kinds: dict[Hashable, dict[int, deque[_Job]]] = {}  # by size
        self._awaited: list[Future] = []  # one for each call that waits
        self._calls = self._flying = self._batches = 0
        self._thread = ThreadPoolExecutor(1, "exdiff-batches")
        self._running = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Take part: a batch that is not full may wait for this call."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify()

    def submit(self, item: Item, kind: Hashable, size: int) -> Future[Result]:
        """The result of `item`, to come; once it is cancelled, it is not computed."""
        future: Future[Result] = Future()
        with self._changed:
            self._flying += size
            future.add_done_callback(lambda _: self._landed(size))
            queue = self._kinds.setdefault(kind, {}).setdefault(size, deque())
            queue.append(_Job(item, size, self._batches, future))
            if not self._running:
                self._running = True
                self._thread.submit(self._run)
            self._changed.notify()
        return future

    def result(self, future: Future[Result]) -> Result:
        """Wait for a result.

        Raises:
            CancelledError: see `cancel`.
            Exception: what the computation raised.
        """
        with self._changed:
            self._awaited.append(future)
            self._changed.notify()
        try:
            return future.result()
        finally:
            with self._changed:
                self._awaited.remove(future)

    @property
    def crowded(self) -> bool:
        """Whether there are items for two batches, one to compute and one to come: more would only take memory."""
        return self._flying >= 2 * self._room

    def cancel(self) -> None:
        """Cancel what is not being computed yet; calls that wait for it raise CancelledError."""
        with self._changed:
            jobs = [job for queues in self._kinds.values() for queue in queues.values() for job in queue]
        for job in jobs:
            job.future.cancel()

    def _landed(self, size: int) -> None:
        with self._changed:
            self._flying -= size

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = self._next()
                self._batches += 1
                if not batch:
                    self._running = False
                    return
            self._settle([job for job in batch if job.future.set_running_or_notify_cancel()])

    def _next(self) -> list[_Job]:
        """The next batch, once it is full or nothing more can be expected; empty if nothing is left."""
        start = time.monotonic()
        while self._kinds:
            choice = self._choice()
            left = start + (_HURRY_SECONDS if self._calls > 1 else _PATIENCE_SECONDS) - time.monotonic()
            waiting = sum(not future.done() for future in self._awaited)
            if choice.full or waiting >= self._calls or left <= 0:
                return self._taken(choice)
            self._changed.wait(left)
        return []

    def _choice(self) -> _Choice:
        """The largest batch that there is, or the largest with an item that was passed over for long."""
        heads = {
            (kind, size): queue[0].number for kind, queues in self._kinds.items() for size, queue in queues.items()
        }
        oldest = min(heads, key=heads.__getitem__)
        late = self._batches - heads[oldest] > _PASSED_OVER
        choices = [choice for kind in self._kinds for choice in self._choices(kind, oldest if late else None)]
        return max(choices, key=lambda choice: choice.total)

    def _choices(self, kind: Hashable, needed: tuple[Hashable, int] | None) -> Iterator[_Choice]:
        """The batches of a kind: one for each size that may be the largest; with `needed`, that one alone."""
        queues = self._kinds[kind]
        sizes = sorted(queues)
        counts = [0, *accumulate(len(queues[size]) for size in sizes)]
        totals = [0, *accumulate(size * len(queues[size]) for size in sizes)]
        for last, largest in enumerate(sizes, 1):
            if needed in (None, (kind, largest)):
                first, most = bisect_left(sizes, _SIMILAR * largest), max(1, self._room // largest)
                count, total = counts[last] - counts[first], totals[last] - totals[first]
                some = [queues[size] for size in sizes[first:last]]
                yield _Choice(total * min(1, most / count), some, most, count >= most)

    def _taken(self, choice: _Choice) -> list[_Job]:
        batch: list[_Job] = []
        for queue in reversed(choice.queues):
            while queue and len(batch) < choice.most:
                batch.append(queue.popleft())
        kinds = {kind: {size: queue for size, queue in q.items() if queue} for kind, q in self._kinds.items()}
        self._kinds = {kind: queues for kind, queues in kinds.items() if queues}
        return batch

    def _settle(self, batch: Sequence[_Job]) -> None:
        if not batch:
            return
        try:
            results = self._compute([job.item for job in batch])  # type: ignore[misc]
            pairs = list(zip(batch, results, strict=True))
        except BaseException as error:
            if len(batch) == 1 or not _lacks_memory(error):
                for job in batch:
                    job.future.set_exception(error)
                return
        else:
            for job, result in pairs:
                job.future.set_result(result)
            return
        # Not within the handler: what the error holds would still take the memory.
        half = len(batch) // 2
        self._room = half * batch[0].size
        self._settle(batch[:half])
        self._settle(batch[half:])


def _lacks_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help; if it does not, each item ends up alone, with an error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)
    )
