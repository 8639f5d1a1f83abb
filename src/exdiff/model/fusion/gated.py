"""Fusion through a gate that depends on the diffusion time, after PGUSE (predictor features into the generator).

Early in the reverse process the state is mostly noise and the latents carry most information; late it is the other way
round. The gate weighs them for each time, channel and position.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from exdiff.model.fusion.base import Fusion, Size, nearest_in_depth, regrid, zero_
from exdiff.model.nn.layers import check_sizes, time_code


class GatedFusion(Fusion):
    """At each level: x + sigmoid(V (x + p) + U e(t)) p with p = W L, a 1x1 convolution V, and W zero at first.

    Args:
        latent_channels, feature_channels: see `Fusion`.
        embedding: width of the time embedding e(t), even.

    Raises:
        ValueError: an embedding below 1, or an odd one.

    Example:
        >>> import torch
        >>> fusion = GatedFusion([8], [4, 6])
        >>> maps = fusion([torch.randn(1, 8, 32, 10)], [(64, 20), (32, 20)])
        >>> x = torch.randn(1, 6, 32, 20)
        >>> torch.equal(fusion.combine(1, x, maps[1], torch.ones(1)), x)
        True
    """

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int], embedding: int = 32) -> None:
        super().__init__(latent_channels, feature_channels)
        check_sizes(1, embedding=embedding)
        if embedding % 2:
            raise ValueError(f"embedding must be even (sines and cosines), got {embedding}")
        self.embedding = embedding
        self.source = nearest_in_depth(len(self.latent_channels), len(self.feature_channels))
        self.project = nn.ModuleList(
            [
                zero_(nn.Conv2d(self.latent_channels[i], c, 1))
                for i, c in zip(self.source, self.feature_channels, strict=True)
            ]
        )
        self.gate = nn.ModuleList([nn.Conv2d(c, c, 1) for c in self.feature_channels])
        self.embed = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU())
        self.time = nn.ModuleList([nn.Linear(embedding, c, bias=False) for c in self.feature_channels])

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        return [
            regrid(layer(latents[i]), size) for layer, i, size in zip(self.project, self.source, sizes, strict=True)
        ]

    def combine(self, level: int, x: Tensor, feature: Tensor, time: Tensor) -> Tensor:
        when = self.time[level](self.embed(time_code(time, self.embedding)))
        gate = self.gate[level](x + feature) + when[:, :, None, None]
        return x + gate.sigmoid() * feature
