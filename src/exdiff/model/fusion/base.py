"""The interface of fusions: align latents of any grid to the backbone's resolutions, and combine them with its maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]


class Fusion(nn.Module, ABC):
    """Base of the fusions, which work in two halves.

    `forward` turns latents [B, D_i, F_i, N_i] into one feature for each backbone resolution, once per window. `combine`
    merges such a feature into the backbone's map [B, C_j, F_j, N_j] in every evaluation: it may depend on that map and
    on the diffusion time, and should cost little. Unless it is overridden, features are maps [B, C_j, F_j, N_j], or
    smaller ones that broadcast to that, and are added.

    Args:
        latent_channels: D_i of each latent.
        feature_channels: C_j of each resolution, finest first.

    Attributes:
        ragged: whether signals of different lengths may share a batch (`core/ragged.py`): no frame sees another one.
    """

    ragged: bool = True

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int]) -> None:
        super().__init__()
        self.latent_channels, self.feature_channels = tuple(latent_channels), tuple(feature_channels)

    @property
    def adds(self) -> bool:
        """Whether `combine` is plain addition, which backbones do themselves."""
        return type(self).combine is Fusion.combine

    @abstractmethod
    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """`sizes`: (F_j, N_j) of each resolution."""

    def combine(self, level: int, x: Tensor, feature: Tensor, time: Tensor) -> Tensor:
        """The backbone's map `x` [B, C_level, F, N] at diffusion times `time` [B], with the level's feature in it."""
        return x + feature


def regrid(latent: Tensor, size: Size) -> Tensor:
    """A map on another time-frequency grid: averaged where that is coarser, linearly interpolated where it is finer."""
    if latent.shape[-2:] == size:
        return latent
    coarse = (min(latent.shape[-2], size[0]), min(latent.shape[-1], size[1]))
    latent = functional.adaptive_avg_pool2d(latent, coarse)
    return latent if coarse == size else functional.interpolate(latent, size, mode="bilinear")


def nearest_in_depth(latents: int, levels: int) -> list[int]:
    """For each resolution of the backbone, finest first, the index of the latent at the same relative depth.

    Example:
        >>> nearest_in_depth(3, 5), nearest_in_depth(1, 3)
        ([0, 0, 1, 2, 2], [0, 0, 0])
    """
    return [min(latents - 1, round(j * (latents - 1) / max(1, levels - 1))) for j in range(levels)]


def zero_(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer with zero weights: without effect at first, but with gradients from the first step."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
