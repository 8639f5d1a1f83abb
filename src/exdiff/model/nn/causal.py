"""Layers of networks that run live: convolutions and recurrences that never look ahead, and what they remember.

A layer gets any number of frames and the memory of those before. So one piece of code does both: training runs it on
whole segments without a memory, a live stream on one frame at a time with the memory of the last call.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.model.nn.layers import ChannelNorm, unfold_frequency
from exdiff.model.nn.precision import full_precision
from exdiff.model.nn.sequences import LSTM


class Memory:
    """What layers remember of earlier frames, in the order in which they run.

    Args:
        state: `kept` of the call before; None at the beginning of a signal.

    Attributes:
        kept: what the layers remember now.

    Example:
        >>> first = Memory(None)
        >>> layer = CausalConv(1, 1)
        >>> whole = layer(torch.ones(1, 1, 4, 3), first)
        >>> memory = Memory(None)
        >>> for i in range(3):
        ...     last = layer(torch.ones(1, 1, 4, 1), memory)
        ...     memory = Memory(memory.kept)
        >>> torch.allclose(last, whole[..., 2:], atol=1e-5)
        True
    """

    def __init__(self, state: Sequence[Tensor] | None) -> None:
        self._before = None if state is None else iter(state)
        self._kept: list[Tensor] = []

    @property
    def kept(self) -> tuple[Tensor, ...]:
        return tuple(self._kept)

    def recall(self) -> Tensor | None:
        """What the next layer kept in the call before; None at the beginning."""
        return None if self._before is None else next(self._before)

    def keep(self, value: Tensor) -> None:
        """For the next call."""
        self._kept.append(value)


class CausalConv(nn.Conv2d):
    """A 3x3 convolution of [B, C, F, N] over this frame and two before it; silence precedes the first one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride=(stride, 1), padding=(1, 0), dilation=(1, dilation))
        self._reach = 2 * dilation

    def forward(self, input: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """`stride` is along frequency, `dilation` along time."""
        past = memory.recall()
        past = input.new_zeros(*input.shape[:3], self._reach) if past is None else past.to(input.dtype)
        x = torch.cat([past, input], 3)
        memory.keep(x[..., -self._reach :])
        return super().forward(x)


class CausalBlock(nn.Module):
    """`ResidualBlock` (layers.py) with causal convolutions."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = CausalConv(channels, channels, dilation=dilation)
        self.conv2 = CausalConv(channels, channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)), memory)
        return x + self.conv2(functional.silu(self.norm2(h)), memory)


class CausalLSTM(nn.LSTM):
    """An LSTM forwards in time, in float32 under autocast too: its state is carried on for hours."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, hidden, batch_first=True)

    def forward(self, input: Tensor, memory: Memory) -> Tensor:  # type: ignore[override]
        """[R, N, channels] -> [R, N, hidden]."""
        past = memory.recall()
        with full_precision(input.device.type):
            out, state = super().forward(input.float(), None if past is None else tuple(past.unbind(0)))  # type: ignore[arg-type]
        memory.keep(torch.stack(state))
        return out


class CausalDualPath(nn.Module):
    """Along frequency within a frame in both directions, then along time within a band, forwards (cf. `DualPath`)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm_frequency, self.norm_time = ChannelNorm(channels), ChannelNorm(channels)
        self.frequency, self.time = LSTM(channels, hidden), CausalLSTM(channels, hidden)
        self.out_frequency, self.out_time = nn.Linear(2 * hidden, channels), nn.Linear(hidden, channels)
        for out in (self.out_frequency, self.out_time):
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        batch, channels, bands, frames = x.shape
        rows = self.norm_frequency(x).permute(0, 3, 2, 1).reshape(batch * frames, bands, channels)
        rows = self.out_frequency(self.frequency(rows))
        x = x + rows.reshape(batch, frames, bands, channels).permute(0, 3, 2, 1)
        rows = self.norm_time(x).permute(0, 2, 3, 1).reshape(batch * bands, frames, channels)
        rows = self.out_time(self.time(rows, memory))
        return x + rows.reshape(batch, bands, frames, channels).permute(0, 3, 1, 2)


class CausalUNet(nn.Module):
    """Encoder, dual-path middle, decoder; strides along frequency only. The causal `UNet`.

    Args:
        channels: width of each level, finest first.
        blocks: residual blocks per level, in the encoder and in the decoder.
        middle: dual-path blocks at the coarsest level.
        hidden: their units per direction.
    """

    def __init__(self, channels: Sequence[int], blocks: int, middle: int, hidden: int) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)

        def level(width: int) -> nn.ModuleList:
            return nn.ModuleList([CausalBlock(width, 2**i) for i in range(blocks)])

        pairs = list(pairwise(channels))
        self.encoder = nn.ModuleList([level(c) for c in channels])
        self.down = nn.ModuleList([CausalConv(a, b, stride=2) for a, b in pairs])
        self.middle = nn.ModuleList([CausalDualPath(channels[-1], hidden) for _ in range(middle)])
        self.up = nn.ModuleList([nn.Conv2d(b, 2 * a, (1, 1)) for a, b in pairs])
        self.decoder = nn.ModuleList([level(c) for c in channels])

    def forward(self, x: Tensor, memory: Memory) -> list[Tensor]:
        """[B, channels[0], F, N] with F a multiple of `stride` -> the decoder's maps, finest first."""
        skips = []
        for i, blocks in enumerate(self.encoder):
            if i > 0:
                x = self.down[i - 1](x, memory)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, memory)
            skips.append(x)
        for block in self.middle:
            x = block(x, memory)
        maps = []
        for i in reversed(range(len(self.decoder))):
            if i < len(self.decoder) - 1:
                x = skips[i] + unfold_frequency(self.up[i](x), 2)  # in the memory format of the first
            for block in self.decoder[i]:  # type: ignore[attr-defined]
                x = block(x, memory)
            maps.insert(0, x)
        return maps
