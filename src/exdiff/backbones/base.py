"""What every score network is: a function of stacked spectrograms, time and condition maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """Base of the score networks.

    `feature_channels` and `feature_sizes` tell a fusion what maps to bring: one for each resolution, finest first.
    """

    feature_channels: tuple[int, ...]

    def feature_sizes(self, bins: int, frames: int) -> list[tuple[int, int]]:
        """(F_j, N_j) of each resolution for an input of `bins` x `frames`."""
        raise NotImplementedError("a backbone defines feature_sizes()")

    def forward(self, x: Tensor, time: Tensor, condition: Sequence[Tensor] | None = None) -> Tensor:
        """X [B, C_in, F, N], time [B], condition maps -> [B, C_out, F, N]."""
        raise NotImplementedError("a backbone defines forward()")

    def on_spectra(self, spectra: Sequence[Tensor], time: Tensor, condition: Sequence[Tensor] | None = None) -> Tensor:
        """The same for complex spectrograms [B, C, F, N] -> [B, C_out / 2, F, N]."""
        out = self(torch.cat([part for s in spectra for part in (s.real, s.imag)], 1), time, condition)
        re, im = out.float().chunk(2, 1)
        return torch.complex(re, im)
