"""The processes of a run: which one this is, where it computes, and how it agrees with the others.

`join` reads the environment, as torchrun, accelerate and MPI set it: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. One process alone needs none of them and no extra; several meet through accelerate, which knows the backend
of each kind of device (gloo, NCCL, ...) and which device is whose.

The loop averages gradients itself, all in one message, instead of wrapping the model: accumulation, losses that are no
`forward`, and an adversary then need nothing special. The price is that sending does not overlap with computing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from exdiff.errors import ConfigError, TrainingError
from exdiff.jobs import choose_device
from exdiff.machine import precision

T = TypeVar("T")


class Ranks:
    """One process alone.

    Attributes:
        rank, count: which process this is, of how many.
        device: where it computes.
        dtype: of the fast part of the computing; weights and losses are float32.

    Example:
        >>> ranks = Ranks(torch.device("cpu"), torch.float32)
        >>> ranks.average(values := [torch.ones(2)])
        >>> ranks.main, values
        (True, [tensor([1., 1.])])
    """

    rank, count = 0, 1

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[object]:
        """Compute at `dtype` where that is faster."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes; TrainingError if one of them is gone."""
        del tensors

    def in_turn(self, make: Callable[[], T]) -> T:
        """What `make` gives, called first by one process of each machine and then, its files being there, by others."""
        return make()

    def leave(self) -> None:
        """Part from the others, in good order."""


class Together(Ranks):
    """One of several processes; see `join`."""

    def __init__(self, device: torch.device, choice: str, timeout: float) -> None:
        try:
            from accelerate import PartialState
        except ImportError:
            raise ConfigError("several processes need the package accelerate: pip install 'exdiff[train]'") from None
        self.seconds = timeout
        own = precision(choice, device.type)
        self.rank, self.count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        with self._watching():
            limit = timedelta(seconds=timeout)
            self._state = PartialState(cpu=device.type == "cpu", timeout=limit)
            # Decoding a data set may take one machine hours; a process that dies is noticed at once all the same.
            patient = torch.distributed.new_group(timeout=timedelta(days=1), backend="gloo")
            assert isinstance(patient, torch.distributed.ProcessGroup)
            self._patient = patient
        super().__init__(torch.device(self._state.device or device), own)
        if differs(self, PRECISION_CODES[own]):  # what one machine does badly none should do
            self.dtype = torch.float32

    def average(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        with self._watching(), torch.no_grad():
            message = torch.cat([t.detach().to(self.device).flatten() for t in tensors])
            torch.distributed.all_reduce(message)
            message /= self.count
            for tensor, mean in zip(tensors, message.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def in_turn(self, make: Callable[[], T]) -> T:
        first = self._state.is_local_main_process
        made = make() if first else None
        with self._watching():
            torch.distributed.barrier(self._patient)
        return make() if made is None else made

    def leave(self) -> None:
        self._state.destroy_process_group()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch.distributed raises many kinds, all of them these
            reason = " ".join(str(error).split())[:160]
            raise TrainingError(
                f"process {self.rank} of {self.count}: another process of this run is gone, or was silent for "
                f"{self.seconds:g} s; start all of them again with --resume ({reason})"
            ) from None


PRECISION_CODES = {torch.float32: 0, torch.bfloat16: 1}


def join(device: str, choice: str, timeout: float) -> Ranks:
    """Take part in the run that the environment describes.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        choice: of the precision, see `machine.precision`.
        timeout: seconds to wait for other processes, now and at every step.

    Raises:
        ConfigError: an unknown or absent device, or an environment that does not make sense.
        TrainingError: the other processes did not come.
    """
    where = choose_device(device)
    if _number("WORLD_SIZE", 1) == 1:
        return Ranks(where, precision(choice, where.type))
    if where.type == "mps":
        raise ConfigError("several processes cannot share Apple's MPS; use --device cpu, or one process")
    if not 0 <= _number("RANK", -1) < _number("WORLD_SIZE", 1):
        raise ConfigError("WORLD_SIZE is set, but RANK is not one of 0 to WORLD_SIZE - 1; start with torchrun")
    if not {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        raise ConfigError("WORLD_SIZE is set, but not MASTER_ADDR and MASTER_PORT; start with torchrun")
    os.environ.setdefault("LOCAL_RANK", "0")
    if "OMP_NUM_THREADS" not in os.environ:  # by itself each process would take all cores
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // _number("LOCAL_WORLD_SIZE", 1)))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return Together(where, choice, timeout)


def differs(ranks: Ranks, value: float) -> bool:
    """Whether the processes hold different values; all get the same answer."""
    mean = torch.tensor([value], dtype=torch.float64)
    ranks.average([mean])
    apart = (mean - value).abs()
    ranks.average([apart])
    return bool(apart > 0)


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        raise ConfigError(f"the environment variable {name} must be a whole number, got {os.environ[name]!r}") from None
