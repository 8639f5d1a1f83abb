"""Faint noise for pauses, so that a ratio to their level is defined."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from exdiff.core.counters import keys, uniform
from exdiff.data.batched import put
from exdiff.data.draws import Draws, Part, Stream, whole
from exdiff.data.mixing.augment import rms

_QUIET, _FAINT = 1e-4, 1e-3  # RMS: signals below the one get noise of the other


class FaintNoise:
    """White noise of twice the length of a signal, of which each example gets a section of its own."""

    def __init__(self, length: int, device: torch.device) -> None:
        self._length = length
        noise = uniform(keys(0, Stream.SAMPLES, torch.zeros(1, dtype=torch.int64, device=device)), 2 * length)
        self._sections = ((noise[0] - 0.5) * (_FAINT * math.sqrt(12))).unfold(0, length, 1)

    def fill(self, x: Tensor, draws: Draws) -> Tensor:
        """Signals [B, T], with noise in those that are silent."""
        first = whole(draws.part(Part.EXAMPLE)[:, 7], self._length)
        return x + self._sections[put(first, x.device)] * (rms(x) < _QUIET)
