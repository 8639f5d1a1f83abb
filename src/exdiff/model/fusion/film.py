"""Fusion by feature-wise modulation (FiLM, Perez et al. 2018): latents scale and shift the backbone's maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from exdiff.model.fusion.base import Fusion, Size, nearest_in_depth, regrid, zero_


class FiLMFusion(Fusion):
    """At each level, position by position: x (1 + gamma) + beta with (gamma, beta) = W L, and W zero at first.

    Example:
        >>> import torch
        >>> fusion = FiLMFusion([8], [4, 6])
        >>> maps = fusion([torch.randn(1, 8, 32, 10)], [(64, 20), (32, 20)])
        >>> x = torch.randn(1, 6, 32, 20)
        >>> torch.equal(fusion.combine(1, x, maps[1], torch.ones(1)), x)
        True
    """

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int]) -> None:
        super().__init__(latent_channels, feature_channels)
        self.source = nearest_in_depth(len(self.latent_channels), len(self.feature_channels))
        self.project = nn.ModuleList(
            [
                zero_(nn.Conv2d(self.latent_channels[i], 2 * c, 1))
                for i, c in zip(self.source, self.feature_channels, strict=True)
            ]
        )

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        return [
            regrid(layer(latents[i]), size) for layer, i, size in zip(self.project, self.source, sizes, strict=True)
        ]

    def combine(self, level: int, x: Tensor, feature: Tensor, time: Tensor) -> Tensor:
        scale, shift = feature.chunk(2, 1)
        return x * (1 + scale) + shift
