"""Bring internal tensors of third-party networks into the order [B, D, F, N]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

ORDER = "bdfn"  # batch, channels, frequency, time
_USUAL = {3: "bdn", 4: "bdfn"}


def named_axes(latents: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Name -> axes, from a recipe's list of names or table of names and axes; "" stands for the usual axes.

    Raises:
        ValueError: no latents, or axes that are not some order of b, d, n and perhaps f.

    Example:
        >>> named_axes(["encoder"]), named_axes({"gru": "bnd"})
        ({'encoder': ''}, {'gru': 'bnd'})
    """
    if isinstance(latents, str) or not latents:
        raise ValueError(f"name one latent or more, as a list or as a table of names and axes, got {latents!r}")
    table = dict(latents) if isinstance(latents, Mapping) else dict.fromkeys(latents, "")
    for name, axes in table.items():
        if axes and sorted(axes) not in (sorted("bdn"), sorted(ORDER)):
            raise ValueError(
                f"{name}: axes must be an order of b, d, n and perhaps f, such as bdfn or bnd, got {axes!r}"
            )
    return table


def to_map(name: str, value: Tensor, axes: str) -> Tensor:
    """The tensor as [B, D, F, N]; without a frequency axis F is 1. `axes` "" means bdfn, or bdn for three axes.

    Raises:
        ValueError: the number of axes does not match.

    Example:
        >>> import torch
        >>> to_map("gru", torch.zeros(2, 7, 5), "bnd").shape
        torch.Size([2, 5, 1, 7])
    """
    axes = axes or _USUAL.get(value.ndim, ORDER)
    if value.ndim != len(axes):
        raise ValueError(f"{name} has the shape {list(value.shape)}, which does not fit the axes {axes!r}")
    value = value.permute([axes.index(letter) for letter in ORDER if letter in axes])
    return value if "f" in axes else value.unsqueeze(2)
