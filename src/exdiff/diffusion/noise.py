"""Gaussian noise with explicit generators: the only place of the diffusion code that draws random numbers.

A sequence of generators gives one per batch item, so what an item gets does not depend on the batch it is in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from exdiff.errors import ConfigError

Generators = torch.Generator | Sequence[torch.Generator] | None


def normal_like(x: Tensor, generator: Generators = None) -> Tensor:
    """Standard normal noise with the shape, dtype and device of `x`; a complex dtype has unit *total* variance.

    The draw happens on the generator's own device, so a CPU seed gives the same noise on every machine.

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


def uniform(count: int, batch: int, generator: Generators = None) -> Tensor:
    """`count` numbers in [0, 1) for each of `batch` items, [count, batch], on the CPU; generators as `normal_like`.

    Example:
        >>> seeds = [torch.Generator().manual_seed(i) for i in (0, 1)]
        >>> pair = uniform(3, 2, seeds)
        >>> torch.equal(pair[:, 1:], uniform(3, 1, [torch.Generator().manual_seed(1)]))
        True
    """
    if generator is None or isinstance(generator, torch.Generator):
        return torch.rand(count, batch, generator=generator)
    _check_count(generator, batch)
    return torch.stack([torch.rand(count, generator=item) for item in generator], 1)


def _check_count(generators: Sequence[torch.Generator], batch: int) -> None:
    if len(generators) != batch:
        raise ConfigError(f"got {len(generators)} generators for a batch of {batch}; give one per item, or one for all")


def _draw(shape: torch.Size, x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device)
