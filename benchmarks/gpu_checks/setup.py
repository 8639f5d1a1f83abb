"""What all checks share: where and how much, how a time is taken, how two signals are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Result = tuple[str, dict[str, Any]]  # of a check: what the table says, and its numbers


class Failed(Exception):
    """A check's verdict: it ran, and the result is wrong."""


@dataclass(frozen=True)
class Setup:
    """Where to measure, and how much.

    Attributes:
        quick: only try whether everything runs.
        seconds: that all checks together should take.
        batch: examples of a training step.
        manifest: of the clips to train on; None is without them.
        overrides: changes to the recipe `speech`.
    """

    device: torch.device
    quick: bool
    seconds: float
    batch: int
    manifest: Path | None = None
    overrides: tuple[str, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.type == "cuda"

    def pick(self, *, cuda: T, cpu: T, quick: T) -> T:
        """The size of a measurement."""
        return quick if self.quick else cuda if self.cuda else cpu

    def seconds_each(self, once: Callable[[], object], share: float, warmups: int = 1) -> float:
        """Seconds of a call, measured within a share of the time, or of what is left of it."""
        for _ in range(warmups):
            once()
        self.wait()
        limit = min(share * self.seconds, (self.seconds - (time.monotonic() - self.began)) / 2)
        count = 1
        while True:
            start = time.perf_counter()
            for _ in range(count):
                once()
            self.wait()
            took = time.perf_counter() - start
            if 3 * took >= limit:  # twice as many again would take too long
                return took / count
            count *= 2

    def wait(self) -> None:
        """Wait until the device has done its work."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def deviation_db(a: Tensor, b: Tensor) -> float:
    """Energy of the difference relative to `b`, in dB; -150 if there is none."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return 10 * math.log10(float((a - b).square().sum() / b.square().sum()) + 1e-15)
