"""No fusion: the plain diffusion model, the baseline of every ablation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from exdiff.model.fusion.base import Fusion, Size


class NoFusion(Fusion):
    """Ignore the latents."""

    def forward(self, latents: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        return []
