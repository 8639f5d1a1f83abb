"""The interface of score networks: functions of stacked spectrograms, time and condition maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from exdiff.model.nn.layers import Inject


class Backbone(nn.Module, ABC):
    """Base of the score networks.

    `feature_channels` and `feature_sizes` describe the maps that a fusion must provide: one per resolution, finest
    first.
    """

    feature_channels: tuple[int, ...]
    ragged: bool = False  # whether signals of different lengths may share a batch, see `core/ragged.py`

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

        Condition j enters the network's feature map of resolution j through `inject(j, map, condition)`, once; without
        `inject`, it is added.
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
