"""The compact score network: the folded U-Net of layers.py with a time embedding and condition maps at every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.machine import fast_layout
from exdiff.core.ragged import masked
from exdiff.model.backbones.base import Backbone
from exdiff.model.nn.layers import (
    Inject,
    UNet,
    check_sizes,
    fold_frequency,
    frequency_code,
    time_code,
    unfold_frequency,
)


class CompactBackbone(Backbone):
    """[B, C_in, F, N] of any F and N -> [B, C_out, F, N].

    Args:
        in_channels, out_channels: real and imaginary parts of the inputs and outputs.
        channels: width of the levels, finest first.
        blocks, middle, hidden: residual blocks per level and side; number and width of the dual-path blocks.
        folding: number of neighbouring bins folded into channels.
        embedding: width of the time embedding, even.
        sequence: what looks along bands and frames in the dual-path blocks: lstm, scan or attention.

    Raises:
        ValueError: a size too small, an odd embedding, an unknown sequence model, or one that cannot have this many
            units.

    Example:
        >>> backbone = CompactBackbone(channels=(8, 12), hidden=4)
        >>> backbone.feature_sizes(255, 7)
        [(64, 7), (32, 7)]
        >>> backbone(torch.randn(1, 6, 255, 7), torch.tensor([0.5])).shape
        torch.Size([1, 2, 255, 7])
    """

    ragged = True

    def __init__(
        self,
        in_channels: int = 6,
        out_channels: int = 2,
        channels: Sequence[int] = (48, 64, 96),
        blocks: int = 1,
        middle: int = 1,
        hidden: int = 96,
        folding: int = 4,
        embedding: int = 64,
        sequence: str = "lstm",
    ) -> None:
        super().__init__()
        check_sizes(1, channels=channels, hidden=hidden, folding=folding, embedding=embedding)
        check_sizes(0, blocks=blocks, middle=middle)
        if embedding % 2:
            raise ValueError(f"embedding must be even (sines and cosines), got {embedding}")
        self.feature_channels, self.folding, self.embedding = tuple(channels), folding, embedding
        self.embed = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.inlet = nn.Conv2d(in_channels * folding + 6, channels[0], 3, padding=1)
        self.body = UNet(channels, blocks, middle, hidden, embedding_channels=embedding, sequence=sequence)
        self.outlet = nn.Conv2d(channels[0], out_channels * folding, 3, padding=1)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)  # type: ignore[arg-type]

    def feature_sizes(self, bins: int, frames: int) -> list[tuple[int, int]]:
        bands = self._padded(bins) // self.folding
        return [(bands // 2**i, frames) for i in range(len(self.feature_channels))]

    @property
    def alignment(self) -> int:
        return self.body.alignment

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        condition: Sequence[Tensor] | None = None,
        inject: Inject | None = None,
    ) -> Tensor:
        bins = x.shape[2]
        x = fold_frequency(functional.pad(x, (0, 0, 0, self._padded(bins) - bins)), self.folding)
        code = frequency_code(x.shape[2], x).expand(x.shape[0], -1, -1, x.shape[3])
        x = self.inlet(fast_layout(masked(torch.cat([x, code], 1))))
        maps = self.body(x, self.embed(time_code(time, self.embedding)), condition or None, inject)
        return unfold_frequency(self.outlet(masked(maps[0])), self.folding)[:, :, :bins]

    def _padded(self, bins: int) -> int:
        return bins + -bins % (self.folding * self.body.stride)
