"""The examples of every step, however the work is divided.

Step s has the examples [s * batch, (s + 1) * batch) of one endless sequence. Each process takes a contiguous share of
them and divides it into micro-batches. An example and its diffusion noise are functions of (seed, index) alone, so the
number of processes, micro-batches and workers, and interruptions, do not change what a step computes.
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
from exdiff.training.world import World


@dataclass(frozen=True)
class MicroBatch:
    """Examples to compute at once: waveforms [B, C, T], and one noise generator for each."""

    clean: Tensor
    mixture: Tensor
    generators: list[torch.Generator]


class Batches:
    """This process's micro-batches of every step, from `step` to the last: an iterator.

    Args:
        source: `source[index]` -> clean and mixture, both [T] or [C, T].
        options: of the run.
        step: the first one.
        world: the processes of the run.
    """

    def __init__(self, source: Any, options: Options, step: int, world: World) -> None:
        self._options, self._step, self._world = options, step, world
        loader = DataLoader(
            _Examples(source),
            batch_sampler=_Indices(options, step, world),
            num_workers=options.workers,
            prefetch_factor=8 if options.workers else None,
            worker_init_fn=_outlive_first_signal,
            pin_memory=world.device.type == "cuda",
        )
        self._examples = iter(loader)

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        return self

    def __next__(self) -> list[MicroBatch]:
        if self._step >= self._options.steps:
            raise StopIteration
        batch = [self._micro_batch(indices) for indices in indices_of(self._step, self._options, self._world)]
        self._step += 1
        return batch

    def _micro_batch(self, indices: range) -> MicroBatch:
        clean, mixture = next(self._examples).to(self._world.device, non_blocking=True).unbind(1)
        seeds = [combined_seed(self._options.seed, index) for index in indices]
        return MicroBatch(clean, mixture, [torch.Generator().manual_seed(seed) for seed in seeds])

    def close(self) -> None:
        """End the workers now; left to the garbage collector they might outlive the run."""
        end = getattr(self._examples, "_shutdown_workers", None)  # torch has no public way
        if end is not None:
            end()


def indices_of(step: int, options: Options, world: World) -> list[range]:
    """Indices of the examples in each micro-batch of one process.

    Example:
        >>> world = World(torch.device("cpu"), torch.float32)
        >>> indices_of(2, Options(batch=8, accumulate=2), world)
        [range(16, 20), range(20, 24)]
    """
    size = options.batch // (world.size * options.accumulate)
    first = step * options.batch + world.rank * options.accumulate * size
    return [range(first + micro * size, first + (micro + 1) * size) for micro in range(options.accumulate)]


def combined_seed(*numbers: int) -> int:
    """One seed from several numbers. Torch's generators alone would start alike for neighbouring seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class _Examples(Dataset[Tensor]):
    """[2, C, T], clean and mixture: sending one tensor is faster than sending two."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitem__(self, index: int) -> Tensor:
        pair = torch.from_numpy(np.stack(self.source[index]))
        return pair if pair.ndim == 3 else pair[:, None]


@dataclass(frozen=True)
class _Indices:
    """The indices of all micro-batches from a step on, generated lazily: a run may have millions."""

    options: Options
    first: int
    world: World

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.options.steps):
            yield from map(list, indices_of(step, self.options, self.world))


def _outlive_first_signal(worker: int) -> None:
    """Terminals, torchrun and SLURM signal all processes at once, but the training process still needs its examples.

    It ends its workers itself (`Batches.close`). A second SIGTERM ends a worker as usual.
    """
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
