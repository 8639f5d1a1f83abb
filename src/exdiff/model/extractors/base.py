"""The interface of extractors: an estimate of the clean signal, and the latents that led to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Extraction:
    """The output of a discriminative model.

    Attributes:
        estimate: waveform [B, C, T], float32 under autocast too.
        latents: maps [B, D_i, F_i, N_i], each on a time-frequency grid of its own; a fusion aligns them.
    """

    estimate: Tensor
    latents: tuple[Tensor, ...]


class Extractor(nn.Module, ABC):
    """Base of the extractors: mixture [B, C, T] at `sample_rate` -> `Extraction`.

    Attributes:
        sample_rate: of the mixture and the estimate, in Hz.
        latent_channels: D_i of each latent.
        channels: of a signal, processed together. With 1, each channel is a separate item, in the latents too:
            [B * C, D_i, F_i, N_i].
        runs_code: constructing it runs code named in the recipe. Such a recipe is accepted from the user only, never
            from a checkpoint, unless the caller trusts it.
    """

    sample_rate: int
    latent_channels: tuple[int, ...]
    channels: int = 1
    runs_code: bool = False

    @property
    def alignment(self) -> int:
        """Samples: windows that start at multiples of this have the same frames; 1 if unknown."""
        return 1

    @property
    def ragged_hop(self) -> int:
        """Samples between frames, if signals of different lengths may share a batch (`core/ragged.py`); 0 if not."""
        return 0

    @abstractmethod
    def forward(self, mixture: Tensor) -> Extraction:
        """Mixture [B, C, T] -> estimate and latents."""
