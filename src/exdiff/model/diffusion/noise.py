"""Random numbers from explicit generators: the only place of the diffusion code that draws any.

A sequence of generators holds one per batch item, so that an item's draws do not depend on the rest of its batch.
Every draw happens on its generator's own device: a CPU seed gives the same numbers on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError

Generators = torch.Generator | Sequence[torch.Generator] | None


def normal_like(x: Tensor, generator: Generators = None) -> Tensor:
    """Standard normal noise with the shape, dtype and device of `x`; a complex dtype has unit *total* variance.

    Args:
        x: any float or complex tensor, batch first, `[B, ...]`.
        generator: one for the whole batch, a sequence with one per item, or None for torch's global one.

    Raises:
        ConfigError: a sequence whose length is not the batch size.

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
        return _draw(x.shape, x, generator)
    _check_count(generator, len(x))
    return torch.stack([_draw(x.shape[1:], x, item) for item in generator])


def uniform(count: int, batch: int, generator: Generators = None, device: torch.device | str | None = None) -> Tensor:
    """`count` numbers in [0, 1) for each of `batch` items, [count, batch].

    Args:
        count: numbers per item.
        batch: number of items.
        generator: see `normal_like`.
        device: where the numbers are needed; None is the CPU.

    Raises:
        ConfigError: a sequence whose length is not the batch size.

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
    columns = [torch.rand(count, device=item.device, generator=item).to(device) for item in generator]
    return torch.stack(columns, 1)


def _check_count(generators: Sequence[torch.Generator], batch: int) -> None:
    if len(generators) != batch:
        raise ConfigError(f"got {len(generators)} generators for a batch of {batch}; give one per item, or one for all")


def _draw(shape: torch.Size, x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device)
