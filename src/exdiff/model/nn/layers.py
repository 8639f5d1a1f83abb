"""Building blocks of the compact networks: folding, a residual block, a dual-path block and a U-Net body.

The number of time-frequency positions decides the cost on a CPU, so neighbouring bins are folded into channels first,
and only frequency is strided: the time resolution stays. Tensors are channels-last in memory; the norm is over the
channels of one position, so that nothing depends on the length of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.config import check_names
from exdiff.core.ragged import masked
from exdiff.model.nn.precision import full_precision
from exdiff.model.nn.sequences import SEQUENCES

# How a condition map enters a network's feature map: (level, x, condition) -> x; by default they are added.
Inject = Callable[[int, Tensor, Tensor], Tensor]

_SPAN = 64  # frames of a dual-path block along time, even: about a second


def fold_frequency(x: Tensor, factor: int) -> Tensor:
    """[B, C, F, N] -> [B, C * factor, F / factor, N]: neighbouring bins become channels."""
    batch, channels, bins, frames = x.shape
    x = x.reshape(batch, channels, bins // factor, factor, frames).transpose(2, 3)
    return x.reshape(batch, channels * factor, bins // factor, frames)


def unfold_frequency(x: Tensor, factor: int) -> Tensor:
    """Undo `fold_frequency`."""
    batch, channels, bands, frames = x.shape
    x = x.reshape(batch, channels // factor, factor, bands, frames).transpose(2, 3)
    return x.reshape(batch, channels // factor, bands * factor, frames)


def frequency_code(bands: int, like: Tensor) -> Tensor:
    """[1, 6, bands, 1]: cosines of the position on the frequency axis, to which convolutions alone are blind."""
    position = (torch.arange(bands, device=like.device, dtype=torch.float32) + 0.5) / bands
    order = torch.arange(1, 7, device=like.device, dtype=torch.float32)[:, None]
    return torch.cos(math.pi * order * position).to(like.dtype)[None, :, :, None]


def time_code(time: Tensor, channels: int) -> Tensor:
    """[B] -> [B, channels]: sines and cosines of log-spaced frequencies of t in [0, 1]; `channels` is even."""
    ends = math.log(1.0), math.log(100.0)
    frequency = torch.exp(torch.linspace(*ends, channels // 2, device=time.device, dtype=torch.float32))
    angle = time.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of [B, C, F, N], in the input's dtype under autocast too."""

    def forward(self, input: Tensor) -> Tensor:
        x = input.permute(0, 2, 3, 1)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with full_precision(x.device.type):  # on CUDA autocast would make a float32 copy
            x = functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Norm, SiLU, 3x3 convolution, twice; the second starts at zero, so depth costs nothing at initialisation.

    With `embedding_channels`, a time embedding scales and shifts between the two (FiLM).
    """

    def __init__(self, channels: int, embedding_channels: int = 0, dilation: int = 1) -> None:
        super().__init__()
        padding = (1, dilation)
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=padding, dilation=(1, dilation))
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding_channels, 2 * channels) if embedding_channels else None
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(masked(functional.silu(self.norm1(x)))))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(embedding)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return x + self.conv2(masked(functional.silu(h)))


def overlapping(rows: Tensor, span: int) -> Tensor:
    """[R, N, C] -> [R, K, span, C]: blocks that overlap by half, zeros outside; block 1 begins at row 0."""
    half, frames = span // 2, rows.shape[1]
    count = -(-frames // half) + 1
    rows = functional.pad(rows, (0, 0, half, count * half - frames))
    return rows.unfold(1, span, half).transpose(2, 3)


def crossfaded(blocks: Tensor, frames: int) -> Tensor:
    """[R, K, span, C] -> [R, frames, C]: undo `overlapping`, each block faded linearly into the next."""
    rows, count, span, channels = blocks.shape
    half = span // 2
    rise = ((torch.arange(half, device=blocks.device, dtype=torch.float32) + 0.5) / half).to(blocks.dtype)[:, None]
    mixed = blocks[:, 1:, :half] * rise + blocks[:, :-1, half:] * (1 - rise)
    return mixed.reshape(rows, (count - 1) * half, channels)[:, :frames]


class DualPath(nn.Module):
    """Two sequence models, along frequency within a frame, then along time within a band (Le et al. 2021).

    Along time they run over overlapping blocks of `span` frames, an even number, as in dual-path separation (Luo et al.
    2020). That bounds the receptive field, so that a long recording gives the same result in windows as in one piece,
    and lets the blocks run in parallel. Without blocks, the memory of trained LSTMs exceeded ten seconds.
    """

    def __init__(self, channels: int, hidden: int, span: int = _SPAN, sequence: str = "lstm") -> None:
        super().__init__()
        check_names("sequence model", [sequence], SEQUENCES)
        self.span = span
        self.norm_frequency, self.norm_time = ChannelNorm(channels), ChannelNorm(channels)
        self.frequency, self.time = SEQUENCES[sequence](channels, hidden), SEQUENCES[sequence](channels, hidden)
        self.out_frequency = nn.Linear(self.frequency.width, channels)
        self.out_time = nn.Linear(self.time.width, channels)
        for out in (self.out_frequency, self.out_time):
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bands, frames = x.shape
        rows = self.norm_frequency(x).permute(0, 3, 2, 1).reshape(batch * frames, bands, channels)
        rows = self.out_frequency(self.frequency(rows))
        x = x + rows.reshape(batch, frames, bands, channels).permute(0, 3, 2, 1)
        rows = masked(self.norm_time(x)).permute(0, 2, 3, 1).reshape(batch * bands, frames, channels)
        blocks = overlapping(rows, self.span)
        blocks = self.out_time(self.time(blocks.flatten(0, 1))).unflatten(0, blocks.shape[:2])
        rows = crossfaded(blocks, frames)
        return x + rows.reshape(batch, bands, frames, channels).permute(0, 3, 1, 2)


def check_sizes(least: int, **sizes: int | Sequence[int]) -> None:
    """Reject a size, or a list with a size, below `least`, and an empty list.

    Raises:
        ValueError: names the first one.

    Example:
        >>> check_sizes(1, channels=[8, 12], folding=0)
        Traceback (most recent call last):
        ValueError: folding must be at least 1, got 0
    """
    for name, size in sizes.items():
        if isinstance(size, int):
            what, smallest = "", size
        else:
            what, smallest = "a list of one or more numbers, each ", min(size, default=least - 1)
        if smallest < least:
            raise ValueError(f"{name} must be {what}at least {least}, got {size}")


class UNet(nn.Module):
    """Encoder, dual-path middle, decoder; strides along frequency only.

    Args:
        channels: width of each level, finest first.
        blocks: residual blocks per level, in the encoder and in the decoder.
        middle: dual-path blocks at the coarsest level.
        hidden: their units per direction.
        embedding_channels: width of the time embedding, 0 for none.
        sequence: their sequence model, see `SEQUENCES`.

    Raises:
        ValueError: an unknown sequence model, or one that cannot have this many units.
    """

    def __init__(
        self,
        channels: Sequence[int],
        blocks: int,
        middle: int,
        hidden: int,
        embedding_channels: int = 0,
        sequence: str = "lstm",
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        self.alignment = _SPAN // 2 if middle else 1  # frames between the blocks of the dual-path middle

        def level(width: int) -> nn.ModuleList:
            return nn.ModuleList([ResidualBlock(width, embedding_channels, 2**i) for i in range(blocks)])

        pairs = list(pairwise(channels))
        self.encoder = nn.ModuleList([level(c) for c in channels])
        self.down = nn.ModuleList([nn.Conv2d(a, b, 3, (2, 1), 1) for a, b in pairs])
        self.middle = nn.ModuleList([DualPath(channels[-1], hidden, sequence=sequence) for _ in range(middle)])
        self.up = nn.ModuleList([nn.Conv2d(b, 2 * a, (1, 1)) for a, b in pairs])
        self.decoder = nn.ModuleList([level(c) for c in channels])

    def forward(
        self,
        x: Tensor,
        embedding: Tensor | None = None,
        condition: Sequence[Tensor] | None = None,
        inject: Inject | None = None,
    ) -> list[Tensor]:
        """[B, channels[0], F, N] with F a multiple of `stride` -> the decoder's maps, finest first.

        `condition`, one map per level, enters at the start of each encoder level: through `inject`, or by addition.
        """
        skips = []
        for i, blocks in enumerate(self.encoder):
            if i > 0:
                x = self.down[i - 1](masked(x))
            if condition is not None:
                x = x + condition[i] if inject is None else inject(i, x, condition[i])
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            skips.append(x)
        for block in self.middle:
            x = block(x)
        maps = []
        for i in reversed(range(len(self.decoder))):
            if i < len(self.decoder) - 1:
                x = skips[i] + unfold_frequency(self.up[i](x), 2)  # in the memory format of the first
            for block in self.decoder[i]:  # type: ignore[attr-defined]
                x = block(x, embedding)
            maps.insert(0, x)
        return maps
