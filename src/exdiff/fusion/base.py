"""What every fusion does: align latents of any grid to the resolutions of the backbone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int]


class Fusion(nn.Module):
    """Base of the fusions: latents [B, D_i, F_i, N_i] -> one map [B, C_j, F_j, N_j] for each backbone resolution.

    Args:
        latent_channels: D_i of each latent.
        feature_channels: C_j of each resolution, finest first.
    """

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int]) -> None:
        super().__init__()
        self.latent_channels, self.feature_channels = tuple(latent_channels), tuple(feature_channels)

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """`sizes`: (F_j, N_j) of each resolution."""
        raise NotImplementedError("a fusion defines forward()")


def regrid(latent: Tensor, size: Size) -> Tensor:
    """A map on another time-frequency grid: the mean where it gets coarser, linear in between where it gets finer."""
    if latent.shape[-2:] == size:
        return latent
    coarse = (min(latent.shape[-2], size[0]), min(latent.shape[-1], size[1]))
    latent = functional.adaptive_avg_pool2d(latent, coarse)
    return latent if coarse == size else functional.interpolate(latent, size, mode="bilinear")
