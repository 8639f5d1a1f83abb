"""The examples of every step, however the work is divided.

Step s has the examples [s * batch, (s + 1) * batch) of one endless sequence. Each process takes a contiguous share of
them and divides it into micro-batches. An example and its diffusion noise are functions of (seed, index) alone, so the
number of processes, micro-batches and workers, and interruptions, do not change what a step computes.

A data set that makes batches on the device (data/batched.py) does so in a thread, one step ahead. Others make their
examples in worker processes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from exdiff.core import counters
from exdiff.core.errors import ConfigError
from exdiff.data.batched import Batched, send
from exdiff.model.diffusion import Keys
from exdiff.training.ahead import Ahead
from exdiff.training.options import Options
from exdiff.training.world import World

_STREAM = 10  # of the counters, for the diffusion's noise


@dataclass(frozen=True)
class MicroBatch:
    """Examples to compute at once: waveforms [B, C, T], and the noise of each."""

    clean: Tensor
    mixture: Tensor
    noise: Keys


class Batches:
    """This process's micro-batches of every step, from `step` to the last: an iterator.

    Args:
        source: `source[index]` -> clean and mixture, both [T] or [C, T].
        options: of the run.
        step: the first one.
        world: the processes of the run.

    Raises:
        ConfigError: `mixer` is "device", which this source is not made for.
    """

    def __init__(self, source: Any, options: Options, step: int, world: World) -> None:
        self._options, self._step, self._world = options, step, world
        self._loaded: Iterator[Tensor] = iter(())
        self._pair: Callable[[range], tuple[Tensor, Tensor]] = self._load
        batched = _batched(source, options, world.device)
        if batched is not None:
            made = batched.on(world.device)
            self._pair = lambda indices: made.batch(list(indices))
        else:
            self._loaded = iter(
                DataLoader(
                    _Examples(source),
                    batch_sampler=_Indices(options, step, world),
                    num_workers=options.workers,
                    prefetch_factor=8 if options.workers else None,
                    worker_init_fn=_outlive_first_signal,
                    pin_memory=world.device.type == "cuda",
                )
            )
        # On the CPU workers are ahead enough, and a thread would only take the model's time.
        beside = batched is not None or world.device.type == "cuda"
        self._ahead = Ahead(self._make, step, options.steps - 1, world.device, _tensors) if beside else None

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        return self

    def __next__(self) -> list[MicroBatch]:
        if self._step >= self._options.steps:
            raise StopIteration
        batch = self._make(self._step) if self._ahead is None else self._ahead.take()
        self._step += 1
        return batch

    def close(self) -> None:
        """End thread and workers now; left to the garbage collector they might outlive the run."""
        if self._ahead is not None:
            self._ahead.close()
        end = getattr(self._loaded, "_shutdown_workers", None)  # torch has no public way
        if end is not None:
            end()

    def _make(self, step: int) -> list[MicroBatch]:
        return [self._micro_batch(indices) for indices in indices_of(step, self._options, self._world)]

    def _micro_batch(self, indices: range) -> MicroBatch:
        keys = counters.keys(self._options.seed, _STREAM, torch.arange(indices.start, indices.stop))
        return MicroBatch(*self._pair(indices), Keys(send(keys, self._world.device)))

    def _load(self, indices: range) -> tuple[Tensor, Tensor]:
        clean, mixture = next(self._loaded).to(self._world.device, non_blocking=True).unbind(1)
        return clean, mixture


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


def _batched(source: Any, options: Options, device: torch.device) -> Batched | None:
    """The source, if it is to make whole batches on the device."""
    if options.mixer == "host" or (options.mixer == "auto" and device.type == "cpu"):
        return None
    if isinstance(source, Batched):
        return source
    if options.mixer == "device":
        name = type(source).__name__
        raise ConfigError(f"training: mixer=device, but {name} cannot make batches on a device; use mixer=auto")
    return None


def _tensors(batch: list[MicroBatch]) -> list[Tensor]:
    return [tensor for micro in batch for tensor in (micro.clean, micro.mixture, micro.noise.keys)]


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
