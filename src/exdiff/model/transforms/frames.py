"""Padding in time, for published networks that need a multiple of 64 frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDINGS = ("zeros", "reflected")


def pad_frames(spectrum: Tensor, multiple: int, padding: str = "zeros") -> Tensor:
    """Lengthen the last axis to a multiple.

    Args:
        spectrum: [..., N], N >= 1, real or complex.
        multiple: of this many frames; 1 changes nothing.
        padding: "zeros", or "reflected" at the last frame (and again at the first, if there are too few).

    Raises:
        ValueError: an unknown padding, or a multiple below 1.

    Example:
        >>> pad_frames(torch.tensor([1, 2, 3]), 4), pad_frames(torch.tensor([1, 2, 3]), 8, "reflected")
        (tensor([1, 2, 3, 0]), tensor([1, 2, 3, 2, 1, 2, 3, 2]))
    """
    if padding not in PADDINGS or multiple < 1:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)} to a multiple of 1 or more, got {padding!r}")
    frames = spectrum.shape[-1]
    missing = -frames % multiple
    if padding == "zeros" or missing == 0:
        return functional.pad(spectrum, (0, missing)) if missing else spectrum
    period = max(1, 2 * (frames - 1))
    place = torch.arange(frames + missing, device=spectrum.device) % period
    return spectrum[..., torch.minimum(place, period - place) if frames > 1 else place]
