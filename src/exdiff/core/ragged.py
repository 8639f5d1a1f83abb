"""Batches of signals of different lengths, in which nothing behind the end of a signal gets into its result.

The shorter ones are followed by silence. To a network silence is a sound like any other, and not the end: with up to
half a second of it `speech` loses .5 dB of SI-SDR (docs/experiments/LOG.md). So every layer that looks along time masks
its input: zeros behind each end, as convolutions pad. Then each signal comes out as it does alone, up to rounding.
What else is behind the ends does not matter and is cut off in the end.

The lengths hold for one thread, within a `with` statement; without one, nothing is masked. Compiled networks do not see
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import NamedTuple

import torch
from torch import Tensor


class _Axis(NamedTuple):
    sizes: tuple[int, ...]  # of each signal alone
    beyond: Tensor  # [B, last - first]: whether a place is behind the end, from where the first signal ends


class _Here(local):
    axes: dict[int, _Axis] | None = None  # by their size


_HERE = _Here()


@contextmanager
def valid_lengths(axes: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Iterator[None]:
    """Signals of a batch that end at different places.

    Args:
        axes: for each time axis (samples, frames), the size that each signal has on it alone; the axis has the largest.
        device: of the batch.

    Example:
        >>> with valid_lengths([[2, 3]]):
        ...     masked(torch.ones(2, 1, 3)).tolist()
        [[[1.0, 1.0, 0.0]], [[1.0, 1.0, 1.0]]]
    """
    known = None
    if len(set(axes[0])) > 1:
        known = {max(sizes): _Axis(tuple(sizes), _beyond(sizes).to(device, non_blocking=True)) for sizes in axes}
    before, _HERE.axes = _HERE.axes, known
    try:
        yield
    finally:
        _HERE.axes = before


def masked(x: Tensor) -> Tensor:
    """`x` [R, ..., N] itself, with zeros behind the ends. R is the size of the batch, or a multiple of it."""
    axes = _HERE.axes
    if axes is not None:
        sizes, beyond = axes[x.shape[-1]]
        tail = x.unflatten(0, (len(sizes), -1))[..., min(sizes) :]
        tail.masked_fill_(beyond.reshape(len(sizes), *[1] * (x.ndim - 1), -1), 0)
    return x


def unpadded(x: Tensor) -> list[Tensor]:
    """The items of `x` [B, ..., N] up to their ends."""
    axes = _HERE.axes
    if axes is None:
        return list(x)
    return [item[..., :size] for item, size in zip(x, axes[x.shape[-1]].sizes, strict=True)]


def _beyond(sizes: Sequence[int]) -> Tensor:
    return torch.arange(min(sizes), max(sizes)) >= torch.tensor(sizes)[:, None]
