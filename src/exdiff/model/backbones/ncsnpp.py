"""NCSN++, the score network of SGMSE+ (Song et al. 2021; Richter et al. 2023), in its three published variants.

A U-Net whose resolution halves along both axes from level to level:

    x --inlet--> [level 0] --down--> [level 1] ... --middle--> ... [level 1] --up--> [level 0]
    x ------------ shrunk, 1x1 -------> +                                |              |
                                                            picture: head, grown --> + head --outlet--> output

With `input_skip` every level of the encoder gets the input again; with `output_skip` every level of the decoder adds to
the output. Condition maps are added at the start of each encoder level; without them this is the published network, and
`ncsnpp_names.py` maps its parts to their names in published checkpoints. Not here: how the input is scaled and what the
output means (`exdiff.model.diffusion.Precondition`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.config import check_names
from exdiff.core.machine import fast_layout
from exdiff.model.backbones.base import Backbone
from exdiff.model.backbones.ncsnpp_blocks import Attention, BigGANBlock, Head, Resample, TimeEmbedding, convolution
from exdiff.model.nn.layers import Inject

PROGRESSIVE, PROGRESSIVE_INPUT = ("output_skip", "none"), ("input_skip", "none")
DIVIDED = ("picture", "output", "nothing")


class NCSNpp(Backbone):
    """[B, C_in, F, N] of any F and N -> [B, C_out, F, N]; zeros fill both axes to multiples of the coarsest step.

    Args:
        in_channels, out_channels: real and imaginary parts of the inputs and outputs.
        nf, ch_mult: channels of the inlet, at least 4, and of each level, finest first, in multiples of nf.
        num_res_blocks: residual blocks per level of the encoder; the decoder has one more.
        attn_resolutions, image_size: levels with attention, named by the number of bins they would have for an input of
            `image_size` bins. The middle always has attention.
        progressive, progressive_input: "output_skip" and "input_skip", see above, or "none".
        skip_rescale: divide sums of branches by sqrt(2).
        fir_kernel: of the resampling; (1, 1) averages and repeats.
        fourier_scale: deviation of the time embedding's frequencies.
        divide_by_time: what is divided by t, to scale like a score: the decoder's "picture", the "output" or "nothing".
        centered: False for input in [0, 1], which is then brought to [-1, 1].

    Raises:
        ValueError: an unknown kind of progression or division, an odd filter or an impossible number of channels.

    Example:
        >>> backbone = NCSNpp(nf=8, ch_mult=(1, 2), num_res_blocks=1, image_size=32)
        >>> backbone.feature_channels, backbone.feature_sizes(33, 7)
        ((8, 8), [(34, 8), (17, 4)])
        >>> backbone(torch.randn(1, 4, 33, 7), torch.tensor([0.5])).shape
        torch.Size([1, 2, 33, 7])
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 2,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        num_res_blocks: int = 2,
        attn_resolutions: Sequence[int] = (16,),
        image_size: int = 256,
        progressive: str = "output_skip",
        progressive_input: str = "input_skip",
        skip_rescale: bool = True,
        fir_kernel: Sequence[float] = (1, 3, 3, 1),
        fourier_scale: float = 16.0,
        divide_by_time: str = "picture",
        centered: bool = True,
    ) -> None:
        super().__init__()
        check_names("progressive", [progressive], PROGRESSIVE)
        check_names("progressive_input", [progressive_input], PROGRESSIVE_INPUT)
        check_names("divide_by_time", [divide_by_time], DIVIDED)
        if nf < 4 or not ch_mult or min(ch_mult) < 1 or num_res_blocks < 1:
            got = f"got nf {nf}, num_res_blocks {num_res_blocks}, ch_mult {list(ch_mult)}"
            raise ValueError(f"needs nf >= 4, num_res_blocks >= 1 and a ch_mult of 1 or more for each level, {got}")
        arch = Architecture(
            pictures=in_channels,
            base=nf,
            widths=tuple(nf * m for m in ch_mult),
            blocks=num_res_blocks,
            attends=tuple(image_size // 2**i in attn_resolutions for i in range(len(ch_mult))),
            rescale=skip_rescale,
            kernel=tuple(fir_kernel),
            input_skip=progressive_input == "input_skip",
            output_skip=progressive == "output_skip",
        )
        self.feature_channels = (nf, *arch.widths[:-1])
        self.stride = 2 ** (len(ch_mult) - 1)
        self.divide_by_time, self.centered = divide_by_time, centered
        self.time = TimeEmbedding(nf, fourier_scale)
        self.encoder, self.middle, self.decoder = Encoder(arch), Middle(arch), Decoder(arch)
        self.outlet = nn.Conv2d(in_channels, out_channels, 1)

    def feature_sizes(self, bins: int, frames: int) -> list[tuple[int, int]]:
        bins, frames = bins + -bins % self.stride, frames + -frames % self.stride
        return [(bins // 2**i, frames // 2**i) for i in range(len(self.feature_channels))]

    def forward(
        self, x: Tensor, time: Tensor, condition: Sequence[Tensor] | None = None, inject: Inject | None = None
    ) -> Tensor:
        bins, frames = x.shape[2:]
        x = x if self.centered else 2 * x - 1
        x = fast_layout(functional.pad(x, (0, -frames % self.stride, 0, -bins % self.stride)))
        embedding = self.time(time)
        skips = self.encoder(x, embedding, condition or None, inject)
        picture = self.decoder(self.middle(skips[-1], embedding), skips, embedding)
        time = time.to(picture.dtype)[:, None, None, None]
        output = self.outlet(picture / time if self.divide_by_time == "picture" else picture)[:, :, :bins, :frames]
        return output / time if self.divide_by_time == "output" else output


@dataclass(frozen=True)
class Architecture:
    """The sizes that encoder, middle and decoder must agree on, and the parts made of them.

    Attributes:
        pictures: channels of the input, and of what the decoder's heads paint.
        base: channels after the inlet.
        widths: channels of each level, finest first.
        blocks: residual blocks of a level.
        attends: whether a level has attention.
        rescale, kernel: `skip_rescale` and `fir_kernel` of `NCSNpp`.
        input_skip, output_skip: whether there are these connections.
    """

    pictures: int
    base: int
    widths: tuple[int, ...]
    blocks: int
    attends: tuple[bool, ...]
    rescale: bool
    kernel: tuple[float, ...]
    input_skip: bool
    output_skip: bool

    def block(self, inputs: int, outputs: int, resample: Resample | None = None) -> BigGANBlock:
        """A residual block with the network's time embedding."""
        return BigGANBlock(inputs, outputs, 4 * self.base, self.rescale, resample)

    def attention(self, level: int) -> nn.Module:
        """Attention, or nothing where the level has none."""
        return Attention(self.widths[level], self.rescale) if self.attends[level] else nn.Identity()

    def resample(self, up: bool) -> Resample:
        """Half or twice the resolution."""
        return Resample(self.kernel, up)


class Encoder(nn.Module):
    """Picture -> all maps on the way down: one at the start of each level and one per block; the decoder pops them."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        starts = (arch.base, *arch.widths[:-1])
        self.inlet = convolution(arch.pictures, arch.base, 3)
        self.levels = nn.ModuleList([EncoderLevel(arch, i, inputs) for i, inputs in enumerate(starts)])
        self.downs = nn.ModuleList([arch.block(c, c, arch.resample(up=False)) for c in starts[1:]])
        combined = starts[1:] if arch.input_skip else ()
        self.combines = nn.ModuleList([convolution(arch.pictures, c, 1) for c in combined])
        self.shrink = arch.resample(up=False)

    def forward(
        self, picture: Tensor, embedding: Tensor, condition: Sequence[Tensor] | None, inject: Inject | None
    ) -> list[Tensor]:
        h, skips = self.inlet(picture), []
        for i, level in enumerate(self.levels):
            if i > 0:
                h = self.downs[i - 1](h, embedding)
                if self.combines:
                    picture = self.shrink(picture)
                    h = h + self.combines[i - 1](picture)
            if condition is not None:
                h = h + condition[i] if inject is None else inject(i, h, condition[i])
            skips.append(h)
            for block, attention in zip(level.blocks, level.attentions, strict=True):  # type: ignore[arg-type]
                h = attention(block(h, embedding))
                skips.append(h)
        return skips


class EncoderLevel(nn.Module):
    """The blocks of one resolution, each followed by attention where the level has it."""

    def __init__(self, arch: Architecture, level: int, inputs: int) -> None:
        super().__init__()
        width = arch.widths[level]
        self.blocks = nn.ModuleList([arch.block(width if j else inputs, width) for j in range(arch.blocks)])
        self.attentions = nn.ModuleList([arch.attention(level) for _ in range(arch.blocks)])


class Middle(nn.Module):
    """Block, attention, block at the coarsest resolution."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        width = arch.widths[-1]
        self.first, self.last = arch.block(width, width), arch.block(width, width)
        self.attention = Attention(width, arch.rescale)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.last(self.attention(self.first(h, embedding)), embedding)


class Decoder(nn.Module):
    """Features and the encoder's maps -> picture, coarsest level first."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        order = range(len(arch.widths) - 1, -1, -1)
        inputs = (arch.widths[-1], *reversed(arch.widths))  # what reaches each level from the one before
        self.levels = nn.ModuleList([DecoderLevel(arch, i, c) for i, c in zip(order, inputs, strict=False)])
        widths = [arch.widths[i] for i in order if i]
        self.ups = nn.ModuleList([arch.block(c, c, arch.resample(up=True)) for c in widths])
        painters = [arch.widths[i] for i in order] if arch.output_skip else [arch.widths[0]]
        self.heads = nn.ModuleList([Head(c, arch.pictures) for c in painters])
        self.grow = arch.resample(up=True)

    def forward(self, h: Tensor, skips: Sequence[Tensor], embedding: Tensor) -> Tensor:
        rest, picture = list(skips), None
        for i, level in enumerate(self.levels):
            for block in level.blocks:  # type: ignore[union-attr]
                h = block(torch.cat([h, rest.pop()], 1), embedding)
            h = level.attention(h)  # type: ignore[operator]
            if len(self.heads) == len(self.levels):
                painted = self.heads[i](h)
                picture = painted if picture is None else self.grow(picture) + painted
            if i < len(self.ups):
                h = self.ups[i](h, embedding)
        return self.heads[-1](h) if picture is None else picture


class DecoderLevel(nn.Module):
    """The blocks of one resolution, each with one of the encoder's maps, then attention where the level has it."""

    def __init__(self, arch: Architecture, level: int, inputs: int) -> None:
        super().__init__()
        width = arch.widths[level]
        begin = (arch.base, *arch.widths)[level]
        maps = [*[width] * arch.blocks, begin]  # of the encoder's level, last to first
        self.blocks = nn.ModuleList([arch.block((width if j else inputs) + c, width) for j, c in enumerate(maps)])
        self.attention = arch.attention(level)
