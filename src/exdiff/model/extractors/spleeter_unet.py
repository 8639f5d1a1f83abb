"""Spleeter's U-Net (Hennequin et al. 2020, after Jansson et al. 2017): magnitudes of a mixture -> those of one source.

Layers, widths and paddings are the published ones; the order of axes, [B, C, F, N], is ours. The published network also
has a norm after its deepest convolution, whose output is not used: it is omitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.2
_SIDES = (1, 2, 1, 2)  # TensorFlow's "same" padding of a 5x5 kernel at stride 2
_WIDE = 64  # output channels above which a transposed convolution is faster than rearranging its weights


class SpleeterUNet(nn.Module):
    """Magnitudes [B, 2, F, N] of both channels -> those of the source, and the maps that led there.

    Args:
        channels: widths of the encoder, finest first; F and N must be multiples of 2 ** len(channels).

    Example:
        >>> magnitude, maps = SpleeterUNet((4, 6))(torch.rand(1, 2, 8, 12))
        >>> tuple(magnitude.shape), [tuple(m.shape) for m in maps]
        ((1, 2, 8, 12), [(1, 4, 4, 6), (1, 6, 2, 3)])
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        outputs = [*reversed(channels[:-1]), 1]
        inputs = [channels[-1], *(2 * c for c in outputs[:-1])]
        self.down = nn.ModuleList([nn.Conv2d(a, b, 5, stride=2) for a, b in pairwise((2, *channels))])
        self.down_norm = nn.ModuleList([_norm(c) for c in channels[:-1]])
        self.up = nn.ModuleList([_Up(a, b) for a, b in zip(inputs, outputs, strict=True)])
        self.up_norm = nn.ModuleList([_norm(c) for c in outputs])
        self.mask = nn.Conv2d(1, 2, 4, padding=3, dilation=2)

    def forward(self, magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The source's magnitudes [B, 2, F, N] in float32; the decoder's maps, finest first, then the bottleneck."""
        skips = [self.down[0](functional.pad(magnitude, _SIDES))]
        for norm, conv in zip(self.down_norm, self.down[1:], strict=True):
            x = functional.leaky_relu(norm(skips[-1]), _SLOPE, inplace=not torch.is_grad_enabled())
            skips.append(conv(functional.pad(x, _SIDES)))
        x = skips.pop()
        maps = [x]
        for conv, norm in zip(self.up, self.up_norm, strict=True):
            x = norm(functional.relu(conv(x)))
            if skips:
                maps.insert(0, x)
                x = torch.cat([skips.pop(), x], 1)
        return self.mask(x).float().sigmoid() * magnitude, maps


class _Up(nn.ConvTranspose2d):
    """Transposed 5x5 convolution of stride 2 to exactly twice the size, without its first row and column.

    Every second bin and frame of the output is an ordinary convolution with every second weight. With few channels,
    computing the four of them as one 3x3 convolution takes at most half the time of the transposed one.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2, padding=1)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None and self.bias is not None
        if self.out_channels > _WIDE:
            return super().forward(input)[..., :-1, :-1]
        # Output 2j takes weights 3, 1 of inputs j - 1, j; output 2j + 1 weights 4, 2, 0 of j - 1, j, j + 1.
        weight = functional.pad(self.weight.flip(2, 3), (0, 1, 0, 1)).unflatten(3, (3, 2)).unflatten(2, (3, 2))
        weight = weight.flip(3, 5).permute(1, 3, 5, 0, 2, 4).reshape(4 * self.out_channels, self.in_channels, 3, 3)
        return functional.pixel_shuffle(functional.conv2d(input, weight, self.bias.repeat_interleave(4), padding=1), 2)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
