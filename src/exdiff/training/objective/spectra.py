"""The STFT of losses and discriminators: windows that overlap by half, silence before the first and after the last."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


def spectra(waves: Tensor, size: int) -> Tensor:
    """Waveforms [B, T] -> complex [B, F, N], with windows of `size` samples."""
    window = hann_window(size, waves.device)
    return torch.stft(waves, size, size // 2, window=window, pad_mode="constant", return_complex=True)


def power(spectrum: Tensor) -> Tensor:
    """|X|^2 of a complex spectrum."""
    return torch.view_as_real(spectrum).square().sum(-1)


@functools.cache
def hann_window(size: int, device: torch.device) -> Tensor:
    """The periodic window, made once for each device."""
    with torch.inference_mode(False):  # or no later caller could train with it
        return torch.hann_window(size, device=device)
