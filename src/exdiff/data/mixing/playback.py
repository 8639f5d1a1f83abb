"""Playback at another speed, by a windowed sinc: pitch and formants move along, which makes other voices."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from exdiff.data.batched import put

_TAPS = 16
_PHASE_BITS = 12  # the sinc is tabulated at 4096 places between two samples
_STEP_BITS = 20  # of the fraction of a speed: places are exact integers, also where float32 would not do


def frames_needed(length: int, speed: float) -> int:
    """Frames of a recording that `Playback` needs for `length` samples."""
    return math.ceil(length * speed) + _TAPS


class Playback:
    """Resamples rows, each at its speed; the first sample stays where it is.

    Args:
        speed: of each row [R]; 2 plays twice as fast.
        length: samples to make.
        device: of the signals.

    Example:
        >>> play = Playback(np.array([0.5]), 4, torch.device("cpu"))
        >>> play(torch.arange(40.0).view(1, 1, 40))[0, 0, 2:].round(decimals=1) - 1  # far from the start, which rings
        tensor([0.0000, 0.5000])
    """

    def __init__(self, speed: np.ndarray, length: int, device: torch.device) -> None:
        step = np.round(speed * (1 << _STEP_BITS)).astype(np.int64)[:, None]
        cut = np.minimum(1.0, 1 / speed)[:, None, None]  # what is played faster is filtered first
        place = put(step, device) * torch.arange(length, device=device)
        self._whole = place >> _STEP_BITS
        self._phase = (place >> (_STEP_BITS - _PHASE_BITS)) & ((1 << _PHASE_BITS) - 1)
        self._weights = _sincs(put(cut, device))

    def __call__(self, x: Tensor) -> Tensor:
        """[R, C, T], of [R, C, at least `frames_needed`]; silence is assumed before the first frame."""
        x = functional.pad(x, (_TAPS // 2 - 1, 0))
        where = self._whole[:, None].expand(-1, x.shape[1], -1)
        out = torch.zeros(where.shape, device=x.device)
        for tap in range(_TAPS):
            out.addcmul_(x[..., tap:].gather(-1, where), self._weights[:, tap].gather(-1, self._phase)[:, None])
        return out


def _sincs(cut: Tensor) -> Tensor:
    """Weights [R, taps, phases] of sincs with cut-off `cut` [R, 1, 1], under Hann windows."""
    fraction = torch.arange(1 << _PHASE_BITS, device=cut.device) / (1 << _PHASE_BITS)
    distance = (torch.arange(_TAPS, device=cut.device) - _TAPS // 2 + 1)[:, None] - fraction
    weights = torch.sinc(cut * distance) * torch.cos(distance * (math.pi / _TAPS)).square()
    return weights / weights.sum(1, keepdim=True)
