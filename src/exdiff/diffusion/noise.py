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
    if len(generator) != x.shape[0]:
        raise ConfigError(
            f"got {len(generator)} generators for a batch of {x.shape[0]}; give one per item, or one for all"
        )
    return torch.stack([_draw(x.shape[1:], x, item) for item in generator])


def _draw(shape: torch.Size, x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=x.dtype, device=generator.device, generator=generator).to(x.device)
