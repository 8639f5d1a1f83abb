"""ResUNet30, the extractor of the paper's vocal experiments: universal source separation (Kong et al. 2023).

A residual U-Net over the magnitude spectrogram predicts a magnitude mask and a rotation of the phase. An optional query
vector selects the source: it adds a bias after every norm (FiLM). Layers and widths are the published ones; names and
the order of axes, [B, C, F, N], are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.model.extractors.resampled import ResampledExtractor
from exdiff.model.nn.layers import check_sizes
from exdiff.model.transforms import CompressedSTFT

_MOMENTUM = 0.01
_SLOPE = 0.01


class _Norm(nn.Module):
    """Batch norm, the query's bias, leaky ReLU."""

    def __init__(self, channels: int, query: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, momentum=_MOMENTUM)
        self.bias = nn.Linear(query, channels) if query else None

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.bias is not None and query is not None:
            x = x + self.bias(query)[:, None, None]
        return functional.leaky_relu(x, _SLOPE)


class _Block(nn.Module):
    """Two 3x3 convolutions, each after a norm, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, query: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _Norm(inputs, query), _Norm(outputs, query)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        return self.shortcut(x) + self.conv2(self.norm2(self.conv1(self.norm1(x, query)), query))


class _Up(nn.Module):
    """One level of the decoder: transposed convolution, concatenation with the encoder's map, a block."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], query: int) -> None:
        super().__init__()
        self.norm = _Norm(inputs, query)
        self.conv = nn.ConvTranspose2d(inputs, outputs, stride, stride, bias=False)
        self.block = _Block(2 * outputs, outputs, query)

    def forward(self, x: Tensor, skip: Tensor, query: Tensor | None) -> Tensor:
        return self.block(torch.cat([self.conv(self.norm(x, query)), skip], 1), query)


class ResUNet30Extractor(ResampledExtractor):
    """Mixture -> estimate, and the decoder's maps, finest first, then the bottleneck.

    The frequency is halved at every level, the time at all but the last. At the published size the maps have 32, 64,
    128, 256, 384, 384 channels and the bottleneck 384 on a grid of T / 32 frames by F / 64 bins.

    Args:
        sample_rate: Hz, of the model.
        rate: Hz, of the network.
        channels: of the levels, finest first.
        n_fft, hop_length: samples at `rate`.
        query: length of the query vector, 0 for none. It is a weight: set `extractor.query`, or train it.
        latents: indices of the maps that become latents: 0 is the finest, `len(channels)` the bottleneck; None is all.

    Raises:
        ValueError: a map that does not exist.

    Example:
        >>> extractor = ResUNet30Extractor(8000, 8000, channels=(4, 6), n_fft=64, hop_length=16)
        >>> extraction = extractor(torch.randn(1, 1, 320))
        >>> extractor.latent_channels, [tuple(m.shape[2:]) for m in extraction.latents]
        ((4, 6, 6), [(32, 22), (16, 11), (8, 11)])
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        rate: int = 32000,
        channels: Sequence[int] = (32, 64, 128, 256, 384, 384),
        n_fft: int = 2048,
        hop_length: int = 320,
        query: int = 0,
        latents: Sequence[int] | None = None,
    ) -> None:
        super().__init__(sample_rate, rate, hop_length)
        check_sizes(1, channels=channels)
        check_sizes(0, query=query)
        depth = len(channels)
        self.chosen = tuple(range(depth + 1) if latents is None else latents)
        if not self.chosen or not set(self.chosen) <= set(range(depth + 1)):
            raise ValueError(f"latents must be numbers from 0 (finest) to {depth} (bottleneck), got {latents}")
        self.latent_channels = tuple((*channels, channels[-1])[i] for i in self.chosen)
        self.transform = CompressedSTFT(n_fft, hop_length, "hann", exponent=1.0, factor=1.0)
        self.query = nn.Parameter(torch.randn(query)) if query else None
        self.strides = [(2, 2)] * (depth - 1) + [(2, 1)]
        self.norm = nn.BatchNorm1d(self.transform.bins, momentum=_MOMENTUM)
        self.inlet = nn.Conv2d(1, channels[0], 1)
        pairs = [(channels[0], channels[0]), *pairwise(channels)]
        self.encoder = nn.ModuleList([_Block(a, b, query) for a, b in pairs])
        self.bottleneck = _Block(channels[-1], channels[-1], query)
        outputs = [*channels[1:], channels[-1]]
        self.decoder = nn.ModuleList(
            [_Up(a, b, stride, query) for a, b, stride in zip(outputs, channels, self.strides, strict=True)]
        )
        self.outlet = nn.Conv2d(channels[0], 3, 1)

    def extract(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = self.transform(wave[:, None])[:, 0]
        maps = self._maps(self.norm(spectrum.abs())[:, None])
        bins, frames = spectrum.shape[1:]
        mask = functional.pad(self.outlet(maps[0])[:, :, : bins - 1, :frames].float(), (0, 0, 0, 1))
        magnitude, re, im = mask[:, 0].sigmoid(), mask[:, 1].tanh(), mask[:, 2].tanh()
        turn = torch.complex(re, im) / (re.square() + im.square() + 1e-10).sqrt()
        estimate = self.transform.inverse((spectrum * magnitude * turn)[:, None], wave.shape[-1])[:, 0]
        return estimate, [maps[i] for i in self.chosen]

    def _maps(self, x: Tensor) -> list[Tensor]:
        """Magnitudes [B, 1, F, N] -> the decoder's maps, finest first, and the bottleneck."""
        x = x[:, :, :-1]  # the published network omits the Nyquist bin
        unit = 2 ** len(self.strides)
        x = self.inlet(functional.pad(x, (0, -x.shape[3] % (unit // 2), 0, -x.shape[2] % unit)))
        skips = []
        for block, stride in zip(self.encoder, self.strides, strict=True):
            skips.append(block(x, self.query))
            x = functional.avg_pool2d(skips[-1], stride)
        x = self.bottleneck(x, self.query)
        maps = [x]
        for level, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            x = level(x, skip, self.query)
            maps.insert(0, x)
        return maps
