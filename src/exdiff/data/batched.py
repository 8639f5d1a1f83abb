"""Batches that are made where they are used: what a data set may offer beside its examples.

A data set with `on(device)` makes whole batches on that device. A batch is a function of the seed and of its indices
alone: the same examples in any division into batches, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


class BatchSource(Protocol):
    """Makes batches on one device, without a state; several threads may use it at once."""

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(clean, mixture), both float32 [B, C, T] on the device."""
        ...


@runtime_checkable
class Batched(Protocol):
    """A data set that makes batches on a device."""

    def on(self, device: torch.device) -> BatchSource: ...


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on the device, without waiting for it.

    Example:
        >>> send(torch.ones(2), torch.device("cpu"))
        tensor([1., 1.])
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # from ordinary memory the copy would wait
    return tensor.to(device, non_blocking=True)


def put(values: np.ndarray, device: torch.device) -> Tensor:
    """Numbers from the host on the device: integers as they are, all others as float32.

    Example:
        >>> put(np.array([0.5]), torch.device("cpu")).dtype
        torch.float32
    """
    tensor = torch.from_numpy(values)
    return send(tensor.float() if tensor.is_floating_point() else tensor, device)
