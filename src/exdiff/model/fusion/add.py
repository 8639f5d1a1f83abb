"""Fusion by addition at every level, through 1x1 convolutions that start at zero.

At initialisation the backbone works as without latents; training opens the connection where it helps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from exdiff.model.fusion.base import Fusion, Size, nearest_in_depth, regrid, zero_


class AddFusion(Fusion):
    """Each resolution gets the latent nearest in depth, regridded and projected: x + W L.

    Example:
        >>> import torch
        >>> fusion = AddFusion([8, 16], [4, 4])
        >>> maps = fusion([torch.randn(1, 8, 32, 10), torch.randn(1, 16, 16, 10)], [(64, 20), (32, 20)])
        >>> [tuple(m.shape) for m in maps], bool(maps[0].any())
        ([(1, 4, 64, 20), (1, 4, 32, 20)], False)
    """

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int]) -> None:
        super().__init__(latent_channels, feature_channels)
        self.source = nearest_in_depth(len(self.latent_channels), len(self.feature_channels))
        self.project = nn.ModuleList(
            [
                zero_(nn.Conv2d(self.latent_channels[i], c, 1))
                for i, c in zip(self.source, self.feature_channels, strict=True)
            ]
        )

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        # Project on the latent's own grid where that is the smaller one: 1x1 convolutions commute with averaging.
        return [
            regrid(layer(latents[i]), size) for layer, i, size in zip(self.project, self.source, sizes, strict=True)
        ]
