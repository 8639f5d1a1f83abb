"""Batches made one step ahead, while the model is still busy with the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.profiler import record_function

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls `make(0)`, `make(1)`, ... in a thread, always one call ahead of `take`.

    On CUDA the thread computes on a stream of its own, beside the model. The stream that takes an item waits for it,
    and the memory of its tensors is not used again before that stream has read them. The host waits for neither.

    Args:
        make: gives item n.
        first: n of the first one.
        last: n of the last one.
        device: where the items are made.
        tensors: all tensors of an item.

    Example:
        >>> ahead = Ahead(lambda n: n * n, 2, 4, torch.device("cpu"), lambda item: [])
        >>> [ahead.take() for _ in range(3)]
        [4, 9, 16]
        >>> ahead.close()
    """

    def __init__(
        self,
        make: Callable[[int], T],
        first: int,
        last: int,
        device: torch.device,
        tensors: Callable[[T], Iterable[Tensor]],
    ) -> None:
        self._make, self._next, self._last, self._tensors = make, first, last, tensors
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._stream is not None:  # what `make` uses may still be on its way there
            self._stream.wait_stream(torch.cuda.current_stream(device))
        self._thread = ThreadPoolExecutor(1, "exdiff-ahead")
        self._made: Future[tuple[T, Any]] | None = None
        self._start()

    def take(self) -> T:
        """The next item; raises what making it raised, and StopIteration after the last."""
        if self._made is None:
            raise StopIteration
        item, ready = self._made.result()
        self._start()
        if ready is not None and self._stream is not None:
            taker = torch.cuda.current_stream(self._stream.device)
            taker.wait_event(ready)
            for tensor in self._tensors(item):
                tensor.record_stream(taker)
        return item

    def close(self) -> None:
        """End the thread, once it has made what it is at."""
        self._thread.shutdown(cancel_futures=True)

    def _start(self) -> None:
        n, self._next = self._next, self._next + 1
        self._made = self._thread.submit(self._compute, n) if n <= self._last else None

    def _compute(self, n: int) -> tuple[T, Any]:
        """The item, and the event on CUDA after which it is there."""
        with record_function("ahead"):
            if self._stream is None:
                return self._make(n), None
            with torch.cuda.stream(self._stream):
                item = self._make(n)
                return item, self._stream.record_event()
