"""Fusion at the input: the latents are concatenated with the noisy spectrogram, as further channels of the first layer.

A convolution of concatenated channels is the sum of the convolutions of the parts. So the latents' contribution to the
first layer's output can be computed once per window, and the backbone stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from exdiff.model.fusion.base import Fusion, Size, regrid, zero_


class ConcatFusion(Fusion):
    """All latents at the finest resolution, nothing at the others: x_0 + sum_i W_i L_i, with W_i zero at first.

    Example:
        >>> import torch
        >>> fusion = ConcatFusion([8, 16], [4, 6])
        >>> maps = fusion([torch.randn(1, 8, 32, 10), torch.randn(1, 16, 16, 10)], [(64, 20), (32, 20)])
        >>> [tuple(m.shape) for m in maps]
        [(1, 4, 64, 20), (1, 6, 1, 1)]
    """

    def __init__(self, latent_channels: Sequence[int], feature_channels: Sequence[int]) -> None:
        super().__init__(latent_channels, feature_channels)
        self.project = nn.ModuleList([zero_(nn.Conv2d(d, self.feature_channels[0], 1)) for d in self.latent_channels])

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        # 1x1 convolutions commute with regridding: each works on its latent's grid, usually the smaller one.
        parts = [regrid(layer(latent), sizes[0]) for layer, latent in zip(self.project, latents, strict=True)]
        finest = sum(parts[1:], parts[0])
        nothing = [finest.new_zeros(finest.shape[0], c, 1, 1) for c in self.feature_channels[1:]]
        return [finest, *nothing]
