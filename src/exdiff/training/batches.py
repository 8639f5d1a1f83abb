"""The examples of every step, wherever and however they are computed.

Step s holds the examples [s * batch, (s + 1) * batch) of one endless sequence. Each process takes a run of them, each
accumulated part a run of that. An example and the noise that it meets are functions of (seed, index) alone, so that
neither processes, parts, workers nor interruptions change what a step computes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from exdiff.training.options import Options
from exdiff.training.ranks import Ranks


@dataclass(frozen=True)
class Part:
    """Examples to compute at once, waveforms [B, C, T], with one generator of noise for each."""

    clean: Tensor
    mixture: Tensor
    generators: list[torch.Generator]


def split(batch: int, step: int, rank: int, count: int, accumulate: int) -> list[range]:
    """Indices of the parts that process `rank` of `count` has of a step.

    Example:
        >>> split(8, 2, rank=1, count=2, accumulate=2)
        [range(20, 22), range(22, 24)]
    """
    size = batch // (count * accumulate)
    first = step * batch + rank * accumulate * size
    return [range(first + part * size, first + (part + 1) * size) for part in range(accumulate)]


def mixed(*numbers: int) -> int:
    """A seed made of some numbers; torch's generators alone would begin alike for neighbouring seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Batches:
    """This process's parts of every step from `step` to the last: an iterator.

    Args:
        source: `source[index]` -> clean and mixture, both [T] or [C, T].
        options: of the run.
        step: the first one.
        ranks: of which this is one.
    """

    def __init__(self, source: Any, options: Options, step: int, ranks: Ranks) -> None:
        self._options, self._step, self._ranks = options, step, ranks
        self._order = _Order(options, step, ranks)
        loader = DataLoader(
            _Examples(source),
            batch_sampler=self._order,
            num_workers=options.workers,
            prefetch_factor=8 if options.workers else None,
            worker_init_fn=_outlive_first_signal,
            pin_memory=ranks.device.type == "cuda",
        )
        self._examples = iter(loader)

    def __iter__(self) -> Iterator[list[Part]]:
        return self

    def __next__(self) -> list[Part]:
        if self._step >= self._options.steps:
            raise StopIteration
        parts = [self._part(indices) for indices in self._order.parts(self._step)]
        self._step += 1
        return parts

    def _part(self, indices: range) -> Part:
        clean, mixture = next(self._examples).to(self._ranks.device, non_blocking=True).unbind(1)
        return Part(clean, mixture, [torch.Generator().manual_seed(mixed(self._options.seed, i)) for i in indices])

    def close(self) -> None:
        """End the workers now; left to the garbage collector they might outlive the run."""
        end = getattr(self._examples, "_shutdown_workers", None)  # torch offers no public way
        if end is not None:
            end()


class _Examples(Dataset[Tensor]):
    """[2, C, T], clean and mixture: one tensor is sent faster than two."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Tensor:
        pair = torch.from_numpy(np.stack(self.source[index]))
        return pair if pair.ndim == 3 else pair[:, None]


class _Order:
    """The parts' indices, made as they are asked for: a run may have millions."""

    def __init__(self, options: Options, first: int, ranks: Ranks) -> None:
        self.options, self.first, self.rank, self.count = options, first, ranks.rank, ranks.count

    def parts(self, step: int) -> list[range]:
        return split(self.options.batch, step, self.rank, self.count, self.options.accumulate)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.options.steps):
            yield from map(list, self.parts(step))


def _outlive_first_signal(worker: int) -> None:
    """Terminals, torchrun and SLURM signal all processes at once; but the one that trains needs its step's examples.

    It ends its workers itself (`Batches.close`). A second SIGTERM ends a worker as usual.
    """
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
