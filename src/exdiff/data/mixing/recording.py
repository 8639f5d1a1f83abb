"""Recording of speech: the same equaliser and band limit for both signals, what harms the mixture alone, the level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from exdiff.data.batched import put
from exdiff.data.draws import Draws, Part, between, gain
from exdiff.data.mixing.augment import Spectrum, clip_peaks, mu_law, on_rows, rms
from exdiff.data.mixing.mix import EQUALISER_DB, Mix

_CUTOFF = (0.4, 0.95)  # of half the sample rate
_CLIPPED = (0.3, 0.9)  # of the peak


def record(clean: Tensor, mixture: Tensor, draws: Draws, mix: Mix, spectrum: Spectrum) -> tuple[Tensor, Tensor]:
    """(clean, mixture), both [B, T], as a device would have recorded them."""
    numbers, device = draws.part(Part.RECORDING), clean.device
    equal, limited, clipped, coded = (numbers[:, place] for place in (0, 7, 9, 11))
    rows = np.flatnonzero((equal < mix.equalise_share) | (limited < mix.band_limit_share))

    def filtered(pair: Tensor) -> Tensor:
        points = between(numbers[rows, 1:7], EQUALISER_DB) * (equal[rows, None] < mix.equalise_share)
        gains = spectrum.equaliser(put(points, device))
        if (narrow := limited[rows] < mix.band_limit_share).any():
            cutoff = np.where(narrow, between(numbers[rows, 8], _CUTOFF), np.inf)[:, None]
            gains = gains * spectrum.band_limit(put(cutoff, device))
        return spectrum.filter(pair, gains[:, None])

    if len(rows):
        clean, mixture = on_rows(torch.stack([clean, mixture], 1), rows, filtered).unbind(1)
    if len(rows := np.flatnonzero(clipped < mix.clip_share)):
        fraction = put(between(numbers[rows, 10:11], _CLIPPED), device)
        mixture = on_rows(mixture, rows, lambda x: clip_peaks(x, fraction))
    mixture = on_rows(mixture, np.flatnonzero(coded < mix.mu_law_share), mu_law)
    level = put(gain(between(numbers[:, 12:13], mix.level_db)), device) / rms(mixture)
    return clean * level, mixture * level
