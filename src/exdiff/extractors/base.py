"""What every extractor gives: an estimate of the clean signal, and the latents that led to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Extraction:
    """What the discriminative model heard.

    Attributes:
        estimate: waveform [B, C, T].
        latents: maps [B, D_i, F_i, N_i] on whatever grids the extractor works on; a fusion aligns them.
    """

    estimate: Tensor
    latents: tuple[Tensor, ...]


class Extractor(nn.Module):
    """Base of the extractors: mixture [B, C, T] at `sample_rate` -> `Extraction`."""

    sample_rate: int
    latent_channels: tuple[int, ...]

    def forward(self, mixture: Tensor) -> Extraction:
        raise NotImplementedError("an extractor defines forward()")
