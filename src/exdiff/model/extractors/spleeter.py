"""Spleeter's 2-stem model (Hennequin et al. 2020) as an extractor: two U-Nets, and the power ratio of their outputs.

It processes both channels together, in independent blocks of 512 frames. In the published code the blocks do not
overlap, so that a note held across an edge is split: each block lacks half of its context. Here blocks may overlap, and
only their inner parts are used. The networks cover 0 to 11 kHz; above, the mask is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.core.config import check_names
from exdiff.core.machine import fast_layout
from exdiff.model.extractors.base import Extraction, Extractor
from exdiff.model.extractors.spleeter_unet import SpleeterUNet
from exdiff.model.nn.layers import check_sizes
from exdiff.model.transforms import CompressedSTFT

ABOVE = ("zeros", "average", "top")
_BLOCKS = 8  # per batch: more would only cost memory
_EPSILON = 1e-10


class SpleeterExtractor(Extractor):
    """Mixture [B, C, T] -> vocals [B, C, T], and the maps of the vocals' U-Net: the decoder's, then the bottleneck.

    The maps are on grids of F/2, F/4 ... bins by N/2, N/4 ... frames, their frequency axes extended to the whole band
    with zeros. The channels of a stereo signal are processed together; a mono signal is processed as stereo with equal
    channels, and the result is the mean of both estimates.

    Args:
        sample_rate: Hz; the published weights are for 44100.
        channels: widths of the U-Nets' levels, finest first.
        n_fft, hop_length: samples.
        bins: input bins of the U-Nets, from 0 Hz.
        frames: per block.
        overlap: frames that neighbouring blocks share; 0 as published.
        gain: of the U-Nets' input. Their masks depend on the level: they were trained on music at its usual loudness,
            an RMS of about 0.2, and find next to nothing in a recording 30 dB quieter.
        above: mask of the bins above: "zeros", the "average" of the mask in each frame, or that of its "top" half.

    Raises:
        ValueError: bins or frames that the levels cannot halve, an overlap that does not fit, or an unknown `above`.

    Example:
        >>> extractor = SpleeterExtractor(8000, (4, 6), n_fft=64, hop_length=16, bins=16, frames=32)
        >>> extraction = extractor(torch.randn(1, 2, 320))
        >>> tuple(extraction.estimate.shape), [tuple(m.shape) for m in extraction.latents]
        ((1, 2, 320), [(1, 4, 16, 11), (1, 6, 8, 6)])
    """

    channels = 2

    def __init__(
        self,
        sample_rate: int = 44100,
        channels: Sequence[int] = (16, 32, 64, 128, 256, 512),
        n_fft: int = 4096,
        hop_length: int = 1024,
        bins: int = 1024,
        frames: int = 512,
        overlap: int = 0,
        gain: float = 1.0,
        above: str = "top",
    ) -> None:
        super().__init__()
        check_sizes(1, channels=channels, frames=frames)
        unit = 2 ** len(channels)
        if bins % unit or frames % unit or not 0 < bins <= n_fft // 2:
            raise ValueError(f"bins (at most n_fft / 2) and frames must be multiples of {unit}, got {bins}, {frames}")
        if overlap % (2 * unit) or not 0 <= overlap <= frames // 2:
            raise ValueError(f"overlap must be a multiple of {2 * unit} and at most half of frames, got {overlap}")
        check_names("extension of the mask", [above], ABOVE)
        self.sample_rate, self.bins, self.frames, self.overlap = sample_rate, bins, frames, overlap
        self.gain, self.above = gain, above
        self.latent_channels = tuple(channels)
        self.transform = CompressedSTFT(n_fft, hop_length, "hann", exponent=1.0, factor=1.0)
        self.lead = n_fft // 2  # silence before and after: the published blocks begin with it
        self.vocals, self.accompaniment = SpleeterUNet(channels), SpleeterUNet(channels)

    @property
    def alignment(self) -> int:
        return self.transform.hop_length * (self.frames - self.overlap)

    def forward(self, mixture: Tensor) -> Extraction:
        channels, length = mixture.shape[1:]
        if channels > self.channels:
            raise ValueError(f"the spleeter extractor takes one or two channels, got {channels}")
        padded = functional.pad(mixture.expand(-1, self.channels, -1), (self.lead, self.lead))
        spectrum = self.transform(padded)
        mask, latents = self._separate(self.gain * spectrum[:, :, : self.bins].abs())
        wave = self.transform.inverse(spectrum * self._extended(mask), padded.shape[-1])
        estimate = wave[..., self.lead : self.lead + length]
        estimate = estimate if channels == self.channels else estimate.mean(1, keepdim=True)
        return Extraction(estimate, tuple(self._in_place(m, length) for m in latents))

    def _separate(self, magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Magnitudes [B, 2, bins, N] -> the vocals' share of the power, and latents on the grid of all frames."""
        total = magnitude.shape[3]
        hop = self.frames - self.overlap
        count = 1 + max(0, -(-(total - self.frames) // hop))
        magnitude = functional.pad(magnitude, (0, (count - 1) * hop + self.frames - total))
        blocks = magnitude.unfold(3, self.frames, hop).permute(0, 3, 1, 2, 4).flatten(0, 1)
        masks, maps = [], []
        for batch in blocks.split(_BLOCKS):
            batch = fast_layout(batch)
            vocals, decoded = self.vocals(batch)
            rest, _ = self.accompaniment(batch)
            power = vocals.square()
            masks.append((power + _EPSILON / 2) / (power + rest.square() + _EPSILON))
            maps.append(decoded)
        mask, *latents = [self._joined(list(pieces), count) for pieces in (masks, *zip(*maps, strict=True))]
        return mask[..., :total], latents

    def _joined(self, batches: list[Tensor], count: int) -> Tensor:
        """Maps [B * count, D, F, M] of blocks -> [B, D, F, ...]: their inner parts, joined in time."""
        blocks = torch.cat(batches).unflatten(0, (-1, count))
        width = blocks.shape[-1]
        edge = self.overlap * width // self.frames // 2
        pieces = [blocks[:, k, :, :, edge if k else 0 : width - edge if k < count - 1 else width] for k in range(count)]
        return torch.cat(pieces, -1) if count > 1 else pieces[0]

    def _extended(self, mask: Tensor) -> Tensor:
        """The mask [B, 2, bins, N] over all bins of the transform."""
        beyond = self.transform.bins - self.bins
        if self.above == "zeros":
            return functional.pad(mask, (0, 0, 0, beyond))
        source = mask[:, :, self.bins // 2 :] if self.above == "top" else mask
        return torch.cat([mask, source.mean(2, keepdim=True).expand(-1, -1, beyond, -1)], 2)

    def _in_place(self, latent: Tensor, length: int) -> Tensor:
        """A map on the grid of the signal: without the silence around it, and over the whole band."""
        stride = self.bins // latent.shape[2]
        lead = self.lead // self.transform.hop_length
        frames = -(-length // self.transform.hop_length) + 1
        latent = latent[..., lead // stride : -(-(lead + frames) // stride)]
        whole = self.transform.n_fft // 2 // stride
        return functional.pad(latent, (0, 0, 0, whole - latent.shape[2]))
