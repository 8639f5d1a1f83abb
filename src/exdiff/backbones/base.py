"""What every score network is: a function of stacked spectrograms, time and condition maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exdiff.layers import Inject


class Backbone(nn.Module, ABC):
    """Base of the score networks.

    `feature_channels` and `feature_sizes` tell a fusion what maps to bring: one for each resolution, finest first.
    """

    feature_channels: tuple[int, ...]

    @abstractmethod
    def feature_sizes(self, bins: int, frames: int) -> list[tuple[int, int]]:
        """(F_j, N_j) of each resolution for an input of `bins` x `frames`."""

    @property
    def alignment(self) -> int:
        """Frames: windows that start at multiples of it are treated alike; 1 if time is never grouped."""
        return 1

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        time: Tensor,
        condition: Sequence[Tensor] | None = None,
        inject: Inject | None = None,
    ) -> Tensor:
        """X [B, C_in, F, N], time [B], one condition for each resolution -> [B, C_out, F, N].

        Condition j enters the network's own map of resolution j through `inject(j, map, condition)`; without it, it is
        a map that is added. Where that happens is the backbone's choice, once for each resolution.
        """

    def on_spectra(
        self,
        spectra: Sequence[Tensor],
        time: Tensor,
        condition: Sequence[Tensor] | None = None,
        inject: Inject | None = None,
    ) -> Tensor:
        """The same for complex spectrograms [B, C, F, N] -> [B, C_out / 2, F, N]."""
        out = self(torch.cat([part for s in spectra for part in (s.real, s.imag)], 1), time, condition, inject)
        re, im = out.float().chunk(2, 1)
        return torch.complex(re, im)
