"""Building blocks of NCSN++ (Song et al. 2021, Appendix C): FIR resampling, BigGAN residual blocks, attention, time.

Every layer is initialised to keep the variance (Glorot), except the last of a residual branch or of the network: they
start near zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.machine import computed_dtype
from exdiff.model.backbones.winograd import convolve, tile_for

RESCALE = math.sqrt(0.5)  # keeps the variance of a sum of two independent maps
_NEAR_ZERO = 1e-10


class Convolution(nn.Conv2d):
    """A convolution with an optional shift [B, C] of its output, free for a single item: it is added to the bias.

    Without gradients, large 3x3 convolutions use Winograd's algorithm on machines where that is faster.
    """

    def forward(self, input: Tensor, shift: Tensor | None = None) -> Tensor:
        if shift is not None and len(shift) > 1:
            return self.forward(input) + shift[:, :, None, None]
        bias = self.bias if shift is None or self.bias is None else self.bias + shift[0]
        tile = tile_for(self, input)
        if tile is None:
            return self._conv_forward(input, self.weight, bias)
        dtype = computed_dtype(input)
        return convolve(input.to(dtype), self.weight.to(dtype), bias, tile)


def convolution(inputs: int, outputs: int, size: int, scale: float = 1.0) -> Convolution:
    """A convolution that keeps F and N; `scale` multiplies its weight's initial variance, its bias starts at zero."""
    layer = Convolution(inputs, outputs, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, math.sqrt(max(scale, _NEAR_ZERO)))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def linear(inputs: int, outputs: int) -> nn.Linear:
    """The same for a linear layer."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def group_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups, of at least four channels each."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class Resample(nn.Module):
    """Twice or half the resolution of both axes, through the FIR filter outer(kernel, kernel).

    The filter prevents the aliasing of plain strides (Zhang 2019). It is a depthwise convolution: no compiled
    extension, and the same code on every device. Edges are padded with zeros. Upsampling with a kernel that has the
    factor (1, 1), as symmetric ones do, repeats each sample and smooths with the rest of the kernel; the transposed
    convolution that other kernels need takes up to ten times as long on CPUs.

    Args:
        kernel: an even number of taps, of any scale; (1, 1) averages or repeats.
        up: twice the resolution instead of half.

    Raises:
        ValueError: an odd number of taps, or taps that sum to zero.

    Example:
        >>> x = torch.arange(8.0).reshape(1, 1, 2, 4)
        >>> Resample((1, 1))(x)
        tensor([[[[2.5000, 4.5000]]]])
        >>> Resample((1, 3, 3, 1), up=True)(x).shape
        torch.Size([1, 1, 4, 8])
    """

    def __init__(self, kernel: Sequence[float] = (1, 3, 3, 1), up: bool = False) -> None:
        super().__init__()
        if len(kernel) % 2 or sum(kernel) == 0:
            raise ValueError(f"fir_kernel must have an even number of taps with a sum, got {list(kernel)}")
        self.up, self.padding = up, len(kernel) // 2 - 1
        # Twice the samples on each axis: each carries a half.
        taps = [(2 if up else 1) * tap / sum(kernel) for tap in kernel]
        rest = divided_by_one_one(taps)
        self.repeats = up and rest is not None
        if up and rest is not None:
            taps = rest
        # PyTorch's convolution is a correlation and needs the flipped kernel; the transposed one does not.
        turned = [] if up and not self.repeats else [0, 1]
        line = torch.tensor(taps, dtype=torch.float32)
        self.register_buffer("weight", torch.outer(line, line).flip(turned), persistent=False)
        self.weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = self.weight.to(x.dtype).expand(channels, 1, -1, -1)
        if self.repeats:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            return functional.conv2d(x, weight, padding=self.padding, groups=channels)
        resample = functional.conv_transpose2d if self.up else functional.conv2d
        return resample(x, weight, stride=2, padding=self.padding, groups=channels)


def divided_by_one_one(taps: Sequence[float]) -> list[float] | None:
    """The kernel that gives `taps` when convolved with (1, 1), or None where there is none.

    Example:
        >>> divided_by_one_one([1, 3, 3, 1]), divided_by_one_one([1, 2, 4, 1])
        ([1, 2, 1], None)
    """
    rest = [taps[0]]
    for tap in taps[1:]:
        rest.append(tap - rest[-1])
    return rest[:-1] if abs(rest[-1]) < 1e-6 * max(map(abs, taps)) else None


def activated(x: Tensor) -> Tensor:
    """SiLU of a map that is not needed again; in place if no gradient needs it either."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


def merged(x: Tensor, h: Tensor, scale: float) -> Tensor:
    """(x + h) * scale, for an `h` that is not needed again."""
    return (x + h) * scale if torch.is_grad_enabled() else h.add_(x).mul_(scale)


class TimeEmbedding(nn.Module):
    """Sines and cosines of log t at random frequencies (Tancik et al. 2020) and two layers: [B] -> [B, 4 width].

    The frequencies are drawn once, with deviation `scale`, and are not trained.
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(width))
        self.frequencies: Tensor
        self.first, self.second = linear(2 * width, 4 * width), linear(4 * width, 4 * width)

    def forward(self, time: Tensor) -> Tensor:
        angle = time.float().clamp_min(1e-8).log()[:, None] * self.frequencies * (2 * math.pi)
        return self.second(functional.silu(self.first(torch.cat([angle.sin(), angle.cos()], 1))))


class BigGANBlock(nn.Module):
    """BigGAN's residual block (Brock et al. 2019): norm, SiLU, [resample,] 3x3, + time, norm, SiLU, 3x3; a shortcut.

    `ResnetBlockBigGANpp` of the published code.

    Args:
        inputs, outputs: channels.
        embedding: channels of the time embedding.
        rescale: divide the sum by sqrt(2).
        resample: changes the resolution of both branches.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, rescale: bool = True, resample: Resample | None = None
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(inputs), group_norm(outputs)
        self.conv1, self.conv2 = convolution(inputs, outputs, 3), convolution(outputs, outputs, 3, scale=0)
        self.time = linear(embedding, outputs)
        self.resample = resample
        plain = inputs == outputs and resample is None
        self.shortcut = None if plain else convolution(inputs, outputs, 1)
        self.scale = RESCALE if rescale else 1.0

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = activated(self.norm1(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h, self.time(functional.silu(embedding)))
        h = self.conv2(activated(self.norm2(h)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return merged(x, h, self.scale)


class Attention(nn.Module):
    """Self-attention with one head over all positions of the map, beside a shortcut."""

    def __init__(self, channels: int, rescale: bool = True) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.query, self.key, self.value = (convolution(channels, channels, 1, scale=0.1) for _ in range(3))
        self.out = convolution(channels, channels, 1, scale=0)
        self.scale = RESCALE if rescale else 1.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        h = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return merged(x, self.out(h), self.scale)


class Head(nn.Module):
    """Norm, SiLU and a 3x3 convolution from features to a picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.conv = group_norm(inputs), convolution(inputs, outputs, 3, scale=0)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(activated(self.norm(h)))
