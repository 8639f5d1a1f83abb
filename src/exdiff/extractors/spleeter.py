"""Spleeter's 2-stem model (Hennequin et al. 2020) as an extractor: two U-Nets, and the ratio of what they hear.

It hears both channels together, in blocks of 512 frames that know nothing of each other. As published one block begins
where the other ends, so that a note held over that edge is judged twice, each time with half of it missing. Here
blocks may overlap, and of each the inner part counts. The networks hear 0 to 11 kHz; above, the mask is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from exdiff.config import check_names
from exdiff.extractors.base import Extraction, Extractor
from exdiff.extractors.unet import SpleeterUNet
from exdiff.machine import fast_layout
from exdiff.transforms import CompressedSTFT

ABOVE = ("zeros", "average", "top")
_BLOCKS = 8  # at once: more would only cost memory
_EPSILON = 1e-10


class SpleeterExtractor(Extractor):
    """Mixture [B, C, T] -> vocals [B, C, T], and the maps of the vocals' U-Net: the decoder's, then the bottleneck.

    The maps are on grids of F/2, F/4 ... bins by N/2, N/4 ... frames, their frequency axes brought to the whole band:
    zeros where the network hears nothing. Of a stereo signal, both channels are heard at once; a mono signal is heard
    as stereo with equal channels, and the mean of both estimates is given.

    Args:
        sample_rate: Hz; the published weights are for 44100.
        channels: widths of the U-Nets' levels, finest first.
        n_fft, hop_length: samples.
        bins: that the U-Nets hear, from 0 Hz.
        frames: of a block.
        overlap: frames that neighbouring blocks share; 0 is as published.
        gain: of what the U-Nets are given. Their masks depend on the level: they know music at its usual loudness, an
            RMS of about 0.2, and of a recording 30 dB below that they find next to nothing.
        above: mask over the bins beyond: "zeros", the "average" of the mask in each frame, or that of its "top" half.

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
        self.lead = n_fft // 2  # silence before and behind: the published blocks begin with it
        self.vocals, self.accompaniment = SpleeterUNet(channels), SpleeterUNet(channels)

    @property
    def alignment(self) -> int:
        return self.transform.hop_length * (self.frames - self.overlap)

    def forward(self, mixture: Tensor) -> Extraction:
        channels, length = mixture.shape[1:]
        if channels > self.channels:
            raise ValueError(f"the spleeter extractor hears one or two channels, got {channels}")
        padded = functional.pad(mixture.expand(-1, self.channels, -1), (self.lead, self.lead))
        spectrum = self.transform(padded)
        mask, latents = self._listen(self.gain * spectrum[:, :, : self.bins].abs())
        wave = self.transform.inverse(spectrum * self._extended(mask), padded.shape[-1])
        estimate = wave[..., self.lead : self.lead + length]
        estimate = estimate if channels == self.channels else estimate.mean(1, keepdim=True)
        return Extraction(estimate, tuple(self._in_place(m, length) for m in latents))

    def _listen(self, magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Magnitudes [B, 2, bins, N] -> the vocals' share of the power, and latents on the grid of all frames."""
        total = magnitude.shape[3]
        hop = self.frames - self.overlap
        count = 1 + max(0, -(-(total - self.frames) // hop))
        magnitude = functional.pad(magnitude, (0, (count - 1) * hop + self.frames - total))
        blocks = magnitude.unfold(3, self.frames, hop).permute(0, 3, 1, 2, 4).flatten(0, 1)
        masks, maps = [], []
        for some in blocks.split(_BLOCKS):
            some = fast_layout(some)
            vocals, heard = self.vocals(some)
            rest, _ = self.accompaniment(some)
            power = vocals.square()
            masks.append((power + _EPSILON / 2) / (power + rest.square() + _EPSILON))
            maps.append(heard)
        mask, *latents = [self._joined(list(pieces), count) for pieces in (masks, *zip(*maps, strict=True))]
        return mask[..., :total], latents

    def _joined(self, batches: list[Tensor], count: int) -> Tensor:
        """Maps [B * count, D, F, M] of blocks -> [B, D, F, ...], side by side, of each its inner part."""
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
        heard = mask[:, :, self.bins // 2 :] if self.above == "top" else mask
        return torch.cat([mask, heard.mean(2, keepdim=True).expand(-1, -1, beyond, -1)], 2)

    def _in_place(self, latent: Tensor, length: int) -> Tensor:
        """A map on the grid of the signal: without the silence around it, and over the whole band."""
        stride = self.bins // latent.shape[2]
        lead = self.lead // self.transform.hop_length
        frames = -(-length // self.transform.hop_length) + 1
        latent = latent[..., lead // stride : -(-(lead + frames) // stride)]
        whole = self.transform.n_fft // 2 // stride
        return functional.pad(latent, (0, 0, 0, whole - latent.shape[2]))
