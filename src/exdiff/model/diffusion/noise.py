"""Random numbers from explicit sources: the only place of the diffusion code that draws any.

A sequence of generators holds one per batch item, so that an item's draws do not depend on the rest of its batch.
Every draw happens on its generator's own device: a CPU seed gives the same numbers on every machine. `Keys` do the same
for a whole batch at once, on the device that needs the numbers: inference uses generators, training keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.core import counters
from exdiff.core.errors import ConfigError
from exdiff.core.ragged import unpadded


class Keys:
    """Random numbers of a batch without generators: an item's are a function of its key and of the draw's number.

    Args:
        keys: int64 [B], one for each item; see `counters.keys`.

    Example:
        >>> pair, alone = Keys(torch.tensor([3, 1])), Keys(torch.tensor([1]))
        >>> first, second = (normal_like(torch.zeros(2, 4), pair) for _ in range(2))
        >>> torch.equal(first[1:], normal_like(torch.zeros(1, 4), alone)), torch.equal(first, second)
        (True, False)
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys, self._drawn = keys, 0

    def __len__(self) -> int:
        return len(self.keys)

    def next(self) -> Tensor:
        """The items' keys [B] for the next draw. Numbers are hashes, so those of neighbouring keys are unrelated."""
        self._drawn += 1
        return self.keys + self._drawn


Generators = torch.Generator | Sequence[torch.Generator] | Keys | None


def normal_like(x: Tensor, generator: Generators = None) -> Tensor:
    """Standard normal noise with the shape, dtype and device of `x`; a complex dtype has unit *total* variance.

    Args:
        x: any float or complex tensor, batch first, `[B, ...]`.
        generator: one for the whole batch, a sequence with one per item, keys, or None for torch's global generator.

    Raises:
        ConfigError: not as many generators or keys as items.

    Example:
        >>> seeds = [torch.Generator().manual_seed(i) for i in (0, 1)]
        >>> pair = normal_like(torch.zeros(2, 3), seeds)
        >>> alone = normal_like(torch.zeros(1, 3), [torch.Generator().manual_seed(1)])
        >>> torch.equal(pair[1:], alone)
        True
    """
    if generator is None:
        return torch.randn_like(x)
    if isinstance(generator, torch.Generator):
        return _draw(x, generator).to(x.device)
    _check_count(generator, len(x))
    if isinstance(generator, Keys):
        return _normal(generator.next().to(x.device), x)
    rows = [_draw(row, item) for row, item in zip(unpadded(x), generator, strict=True)]
    drawn = torch.stack([functional.pad(row, (0, x.shape[-1] - row.shape[-1])) if row.ndim else row for row in rows])
    # One transfer for all items, for which the host does not wait.
    return (drawn.pin_memory() if x.is_cuda and not drawn.is_cuda else drawn).to(x.device, non_blocking=True)


def uniform(count: int, batch: int, generator: Generators = None, device: torch.device | str | None = None) -> Tensor:
    """`count` numbers in [0, 1) for each of `batch` items, [count, batch].

    Args:
        count: numbers per item.
        batch: number of items.
        generator: see `normal_like`.
        device: where the numbers are needed; None is the CPU.

    Raises:
        ConfigError: not as many generators or keys as items.

    Example:
        >>> seeds = [torch.Generator().manual_seed(i) for i in (0, 1)]
        >>> pair = uniform(3, 2, seeds)
        >>> torch.equal(pair[:, 1:], uniform(3, 1, [torch.Generator().manual_seed(1)]))
        True
    """
    device = torch.device("cpu") if device is None else device
    if generator is None:
        return torch.rand(count, batch, device=device)
    if isinstance(generator, torch.Generator):
        return torch.rand(count, batch, device=generator.device, generator=generator).to(device)
    _check_count(generator, batch)
    if isinstance(generator, Keys):
        return counters.uniform(generator.next().to(device), count).mT
    columns = [torch.rand(count, device=item.device, generator=item).to(device) for item in generator]
    return torch.stack(columns, 1)


def _check_count(generators: Sequence[torch.Generator] | Keys, batch: int) -> None:
    if len(generators) != batch:
        raise ConfigError(f"got {len(generators)} generators for a batch of {batch}; give one per item, or one for all")


def _normal(keys: Tensor, x: Tensor) -> Tensor:
    numbers = counters.normal(keys, x.shape[1:].numel() * (2 if x.is_complex() else 1))
    if x.is_complex():
        numbers = torch.view_as_complex(numbers.unflatten(1, (-1, 2))) * 0.5**0.5
    return numbers.reshape(x.shape).to(x.dtype)


def _draw(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype, device=generator.device, generator=generator)
