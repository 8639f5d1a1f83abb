"""The compact extractor: a folded U-Net with a dual-path middle that predicts mask and residual.

Its own STFT (32 ms, half overlap) keeps the number of positions small. The latents are the decoder's maps at every
level: what the network has found before it commits itself to one estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.machine import fast_layout
from exdiff.core.ragged import masked
from exdiff.model.extractors.base import Extraction, Extractor
from exdiff.model.nn.layers import UNet, check_sizes, fold_frequency, frequency_code, unfold_frequency
from exdiff.model.transforms import CompressedSTFT


class CompactExtractor(Extractor):
    """Mixture [B, C, T] -> estimate [B, C, T] and one latent map [B * C, ...] per level; channels are separate items.

    Args:
        sample_rate: Hz.
        channels: width of the levels, finest first.
        blocks: residual blocks per level, in the encoder and in the decoder.
        middle, hidden: number and width of the dual-path blocks.
        folding: number of neighbouring bins folded into channels.
        n_fft, hop_length: of its own transform, in samples.
        sequence: what looks along bands and frames in the dual-path blocks: lstm, scan or attention.

    Raises:
        ValueError: a size too small, an unknown sequence model, or one that cannot have this many units.

    Example:
        >>> extraction = CompactExtractor(channels=(8, 12), blocks=1, middle=1, hidden=4)(torch.zeros(1, 1, 1000))
        >>> tuple(extraction.estimate.shape), [tuple(m.shape) for m in extraction.latents]
        ((1, 1, 1000), [(1, 8, 64, 5), (1, 12, 32, 5)])
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        channels: Sequence[int] = (64, 96, 128),
        blocks: int = 2,
        middle: int = 2,
        hidden: int = 128,
        folding: int = 4,
        n_fft: int = 510,
        hop_length: int = 255,
        sequence: str = "lstm",
    ) -> None:
        super().__init__()
        check_sizes(1, channels=channels, hidden=hidden, folding=folding)
        check_sizes(0, blocks=blocks, middle=middle)
        self.sample_rate, self.folding = sample_rate, folding
        self.latent_channels = tuple(channels)
        self.transform = CompressedSTFT(n_fft, hop_length, "sqrt_hann", exponent=0.5, factor=1.0)
        self.inlet = nn.Conv2d(3 * folding + 6, channels[0], 3, padding=1)
        self.body = UNet(channels, blocks, middle, hidden, sequence=sequence)
        self.outlet = nn.Conv2d(channels[0], 4 * folding, 3, padding=1)
        nn.init.zeros_(self.outlet.weight)  # the first estimate is the mixture
        nn.init.zeros_(self.outlet.bias)  # type: ignore[arg-type]

    @property
    def alignment(self) -> int:
        return self.transform.hop_length * self.body.alignment

    @property
    def ragged_hop(self) -> int:
        return self.transform.hop_length if self.transform.ragged else 0

    def forward(self, mixture: Tensor) -> Extraction:
        batch, channels, length = mixture.shape
        spectrum = self.transform(mixture.reshape(batch * channels, 1, length))
        maps = self.body(self._inlet(spectrum))
        bins = spectrum.shape[2]
        output = unfold_frequency(self.outlet(masked(maps[0])), self.folding)[:, :, :bins].float()
        mask_re, mask_im, rest_re, rest_im = output.unbind(1)
        mask, rest = torch.complex(1 + mask_re, mask_im), torch.complex(rest_re, rest_im)
        estimate = self.transform.inverse(masked(mask[:, None] * spectrum + rest[:, None]), length)
        return Extraction(masked(estimate).reshape(batch, channels, length), tuple(maps))

    def _inlet(self, spectrum: Tensor) -> Tensor:
        x = torch.cat([spectrum.real, spectrum.imag, spectrum.abs()], 1)
        x = functional.pad(x, (0, 0, 0, -x.shape[2] % (self.folding * self.body.stride)))
        x = fold_frequency(x, self.folding)
        code = frequency_code(x.shape[2], x).expand(x.shape[0], -1, -1, x.shape[3])
        return self.inlet(fast_layout(masked(torch.cat([x, code], 1))))
