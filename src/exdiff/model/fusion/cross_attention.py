"""Fusion by attention: every position of the backbone attends to the latents of the frames around it.

The tokens are the latents pooled to a few bands per frame; a query attends to the tokens of all bands in the nearest
frames. So the cost is linear in time, and the context is fixed: windows give the same result as the whole recording.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.model.fusion.base import Fusion, Size, nearest_in_depth, regrid, zero_
from exdiff.model.nn.layers import ChannelNorm, check_sizes, frequency_code


class LocalAttention(nn.Module):
    """Attention of all bands of a frame to all tokens of the `context` frames around it.

    Queries and keys have unit length, so that the scale of the latents does not change the sharpness of the attention.
    A learned vector for each frame of the context distinguishes past, present and future keys.

    Args:
        width: channels of queries, keys and values.
        heads: number of heads; divides `width`.
        context: frames that a query attends to, odd.
    """

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads, self.context = heads, context
        self.offset = nn.Parameter(torch.randn(width, context) / math.sqrt(width))

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """[B, D, F, N] and keys with values [B, 2 D, f, N] -> [B, D, F, N]."""
        batch, width, bins, frames = query.shape
        around = functional.pad(tokens, (self.context // 2, self.context // 2, 0, 0), mode="replicate")
        key, value = around.unfold(3, self.context, 1).chunk(2, 1)  # [B, D, f, N, context]
        key = key + self.offset[:, None, None, :]

        def rows(x: Tensor) -> Tensor:
            """[B, D, positions, N] -> [B * N, heads, positions, D / heads]."""
            x = x.reshape(batch, self.heads, width // self.heads, -1, frames)
            return x.permute(0, 4, 1, 3, 2).flatten(0, 1)

        q = functional.normalize(rows(query), dim=-1)
        k = functional.normalize(rows(key.transpose(3, 4).flatten(2, 3)), dim=-1)
        v = rows(value.transpose(3, 4).flatten(2, 3))
        scale = math.sqrt(width // self.heads)
        seen = functional.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), scale=scale)
        return seen.reshape(batch, frames, self.heads, bins, -1).permute(0, 2, 4, 3, 1).reshape(query.shape)

    def macs(self, query: Tensor, tokens: Tensor) -> float:
        """Multiply-accumulates of the two products; see exdiff.model.nn.cost."""
        return 2.0 * query.numel() * self.context * tokens.shape[2]


class CrossAttentionFusion(Fusion):
    """At each level: x + W attention(Q norm(x), K L, V L), with W zero at first.

    Args:
        latent_channels, feature_channels: see `Fusion`.
        width: channels of queries, keys and values.
        heads: number of heads.
        bands: most tokens per frame; latents with fewer bands keep theirs.
        context: frames that a query attends to, odd.

    Raises:
        ValueError: a size below 1, an even context, or a width that the heads do not divide.

    Example:
        >>> fusion = CrossAttentionFusion([8], [4, 6], width=8, heads=2)
        >>> maps = fusion([torch.randn(1, 8, 32, 10)], [(64, 20), (32, 20)])
        >>> x = torch.randn(1, 6, 32, 20)
        >>> tuple(maps[1].shape), torch.equal(fusion.combine(1, x, maps[1], torch.ones(1)), x)
        ((1, 16, 16, 20), True)
    """

    ragged = False

    def __init__(
        self,
        latent_channels: Sequence[int],
        feature_channels: Sequence[int],
        width: int = 32,
        heads: int = 4,
        bands: int = 16,
        context: int = 3,
    ) -> None:
        super().__init__(latent_channels, feature_channels)
        check_sizes(1, width=width, heads=heads, bands=bands, context=context)
        if context % 2 == 0:
            raise ValueError(f"context must be odd (frames before, now and after), got {context}")
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.bands = bands
        self.source = nearest_in_depth(len(self.latent_channels), len(self.feature_channels))
        sources = [self.latent_channels[i] for i in self.source]
        self.tokens = nn.ModuleList([nn.Conv2d(d + 6, 2 * width, 1) for d in sources])
        self.norm = nn.ModuleList([ChannelNorm(c) for c in self.feature_channels])
        self.query = nn.ModuleList([nn.Conv2d(c + 6, width, 1) for c in self.feature_channels])
        self.attention = nn.ModuleList([LocalAttention(width, heads, context) for _ in sources])
        self.out = nn.ModuleList([zero_(nn.Conv2d(width, c, 1)) for c in self.feature_channels])

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        features = []
        for layer, i, (_, frames) in zip(self.tokens, self.source, sizes, strict=True):
            pooled = regrid(latents[i], (min(self.bands, latents[i].shape[2]), frames))
            features.append(layer(_with_code(pooled)))
        return features

    def combine(self, level: int, x: Tensor, feature: Tensor, time: Tensor) -> Tensor:
        query = self.query[level](_with_code(self.norm[level](x)))
        return x + self.out[level](self.attention[level](query, feature))


def _with_code(x: Tensor) -> Tensor:
    """With six more channels that encode the position on the frequency axis."""
    return torch.cat([x, frequency_code(x.shape[2], x).expand(x.shape[0], -1, -1, x.shape[3])], 1)
