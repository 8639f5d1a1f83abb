"""The processes of a run: which one this is, where it computes, and how they exchange values.

`join_world` reads the environment as torchrun, accelerate and MPI set it: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. A single process needs none of them and no extra. Several processes are connected by accelerate, which
chooses the backend for each kind of device (gloo, NCCL, ...) and assigns the devices.

The loop averages gradients itself, all in one message, instead of wrapping the model: accumulation, losses that are
not a `forward`, and an adversary then need nothing special. The price is that communication does not overlap with
computing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError, TrainingError
from exdiff.core.machine import choose_device, precision

T = TypeVar("T")


class World:
    """The processes of a run; this class is a run of one process, `DistributedWorld` one of several.

    Attributes:
        rank: which process this is, from 0.
        size: number of processes.
        device: where this process computes.
        dtype: of the operations under autocast; weights and losses are float32.

    Example:
        >>> world = World(torch.device("cpu"), torch.float32)
        >>> world.average(values := [torch.ones(2)])
        >>> world.main, values
        (True, [tensor([1., 1.])])
    """

    rank, size = 0, 1

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in `dtype` where that is faster."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all on one device, by its mean over all processes; TrainingError if one is gone."""
        del tensors

    def differs(self, value: float) -> bool:
        """Whether the processes hold different values; all get the same answer."""
        mean = torch.tensor([value], dtype=torch.float64)
        self.average([mean])
        deviation = (mean - value).abs()
        self.average([deviation])
        return bool(deviation > 0)

    def local_main_first(self, make: Callable[[], T]) -> T:
        """The result of `make`, called by one process of each machine first, and by the others once its files exist."""
        return make()

    def leave(self) -> None:
        """Disconnect from the other processes."""


class DistributedWorld(World):
    """Several processes; see `join_world`."""

    def __init__(self, device: torch.device, choice: str, timeout: float) -> None:
        try:
            from accelerate import PartialState
        except ImportError:
            raise ConfigError("several processes need the package accelerate: pip install 'exdiff[train]'") from None
        self._timeout = timeout
        dtype = precision(choice, device.type)
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        with self._lost_process_is_an_error():
            limit = timedelta(seconds=timeout)
            self._state = PartialState(cpu=device.type == "cpu", timeout=limit)
            # Decoding a data set may take one machine hours; a process that dies is still noticed at once.
            self._patient = _new_group(timedelta(days=1))
            self._host = _new_group(limit)  # what lies on the host must not wait for a GPU
        super().__init__(torch.device(self._state.device or device), dtype)
        if self.differs(dtype.itemsize):  # a precision that is slow on one machine would hold up all
            self.dtype = torch.float32

    def average(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        with self._lost_process_is_an_error(), torch.no_grad():
            message = torch.cat([t.detach().flatten() for t in tensors])
            torch.distributed.all_reduce(message, group=self._host if message.device.type == "cpu" else None)
            message /= self.size
            for tensor, mean in zip(tensors, message.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def local_main_first(self, make: Callable[[], T]) -> T:
        first = self._state.is_local_main_process
        made = make() if first else None
        with self._lost_process_is_an_error():
            torch.distributed.barrier(self._patient)
        return make() if made is None else made

    def leave(self) -> None:
        self._state.destroy_process_group()

    @contextmanager
    def _lost_process_is_an_error(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # base class of all errors of torch.distributed
            reason = " ".join(str(error).split())[:160]
            raise TrainingError(
                f"process {self.rank} of {self.size}: another process of this run is gone, or was silent for "
                f"{self._timeout:g} s; start all of them again with --resume ({reason})"
            ) from None


def join_world(device: str, choice: str, timeout: float) -> World:
    """Join the run that the environment describes.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        choice: of the precision, see `machine.precision`.
        timeout: seconds to wait for other processes, now and at every step.

    Raises:
        ConfigError: an unknown or absent device, or inconsistent environment variables.
        TrainingError: the other processes did not appear.
    """
    where = choose_device(device)
    if _number("WORLD_SIZE", 1) == 1:
        return World(where, precision(choice, where.type))
    if where.type == "mps":
        raise ConfigError("several processes cannot share Apple's MPS; use --device cpu, or one process")
    if not 0 <= _number("RANK", -1) < _number("WORLD_SIZE", 1):
        raise ConfigError("WORLD_SIZE is set, but RANK is not one of 0 to WORLD_SIZE - 1; start with torchrun")
    if not {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        raise ConfigError("WORLD_SIZE is set, but not MASTER_ADDR and MASTER_PORT; start with torchrun")
    os.environ.setdefault("LOCAL_RANK", "0")
    if "OMP_NUM_THREADS" not in os.environ:  # by default each process would use all cores
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _number("LOCAL_WORLD_SIZE", 1)))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return DistributedWorld(where, choice, timeout)


def _new_group(limit: timedelta) -> torch.distributed.ProcessGroup:
    group = torch.distributed.new_group(timeout=limit, backend="gloo")
    assert isinstance(group, torch.distributed.ProcessGroup)
    return group


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        raise ConfigError(f"the environment variable {name} must be a whole number, got {os.environ[name]!r}") from None
