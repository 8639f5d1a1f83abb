"""Invertible level scaling: networks get every recording at about the same level.

`gain(mixture, sample_rate)` returns a factor per sample; normalised = mixture * gain, and division undoes it. `local`
follows the RMS of one second before and after. It needs no further context, so a file enhanced in windows equals the
same file enhanced whole. `peak` is the published SGMSE scaling: one factor for the whole signal.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

CONTEXT_SECONDS = 1.0  # on each side, for `local`
_FRAME_SECONDS = 0.01
_TARGET_RMS = 0.1
_FLOOR_RMS = 1e-4  # -80 dBFS: a recording below it counts as silent and is not amplified further


def local(mixture: Tensor, sample_rate: int) -> Tensor:
    """Gain [B, 1, T] that brings the RMS within +-1 s to 0.1.

    Args:
        mixture: waveform [B, C, T], T >= 1.
        sample_rate: Hz; if it is a multiple of 100, windows that begin at whole seconds equal the whole exactly.

    Example:
        >>> import torch
        >>> scaled = 0.5 * local(torch.full((1, 1, 16000), 0.5), 16000)
        >>> torch.allclose(scaled, torch.tensor(0.1))
        True
    """
    length = mixture.shape[-1]
    frame = max(1, round(_FRAME_SECONDS * sample_rate))
    power = mixture.square().mean(1, keepdim=True)
    power = functional.avg_pool1d(power, frame, ceil_mode=True)
    reach = round(CONTEXT_SECONDS / _FRAME_SECONDS) - 1  # the interpolation below looks one frame further
    level = functional.avg_pool1d(power, 2 * reach + 1, 1, reach, count_include_pad=False)
    # Linear between the frames' centres: a step in gain would be an audible click.
    level = functional.interpolate(level, size=level.shape[-1] * frame, mode="linear")[..., :length]
    return _TARGET_RMS / (level + _FLOOR_RMS**2).sqrt()


def peak(mixture: Tensor, sample_rate: int) -> Tensor:
    """Gain [B, 1, 1] that brings the largest magnitude to 1 (Richter et al. 2023); silence keeps its level."""
    del sample_rate
    top = mixture.abs().amax((1, 2), keepdim=True)
    return 1 / top.where(top > 0, 1.0)


LEVELS: dict[str, Callable[[Tensor, int], Tensor]] = {"local": local, "peak": peak}
