"""What every extractor gives: an estimate of the clean signal, and the latents that led to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Extractor(nn.Module, ABC):
    """Base of the extractors: mixture [B, C, T] at `sample_rate` -> `Extraction`.

    Attributes:
        sample_rate: Hz, of what goes in and comes out.
        latent_channels: D_i of each latent.
        channels: of a signal, that it hears together. With 1 each channel is an item of its own, in the latents too:
            [B * C, D_i, F_i, N_i].
        runs_code: building it runs code that the recipe names. Such a recipe is taken from the user alone, never from a
            checkpoint, unless the caller trusts it.
    """

    sample_rate: int
    latent_channels: tuple[int, ...]
    channels: int = 1
    runs_code: bool = False

    @property
    def alignment(self) -> int:
        """Samples between its frames: windows that start at multiples of it see the same frames; 1 if unknown."""
        return 1

    @abstractmethod
    def forward(self, mixture: Tensor) -> Extraction:
        """Listen once."""
