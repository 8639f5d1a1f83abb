"""What happens to sound between the mouth and the file: rooms, equalisers, band limits, clipping, codecs.

Signals are tensors [..., T] on any device, rows of a batch with parameters of their own. Nothing here is random, and
nothing reads a value back from the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from exdiff.data.batched import put

_EARLY_SECONDS = 0.05  # reflections that help intelligibility
_POINTS = 6  # of an equaliser


def rms(x: Tensor) -> Tensor:
    """Root mean square level [..., 1], never zero."""
    return (x.square().mean(-1, keepdim=True) + 1e-12).sqrt()


def on_rows(x: Tensor, rows: np.ndarray, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`x` with some of its rows changed; nothing is computed for the others.

    Args:
        x: [B, ...].
        rows: their numbers, on the host, each once.
        change: gets and gives [R, ...].
    """
    if len(rows) == 0:
        return x
    if len(rows) == len(x):
        return change(x)
    where = put(rows, x.device)
    return x.index_copy(0, where, change(x.index_select(0, where)))


def fast_size(least: int) -> int:
    """The smallest even size of an FFT from `least` up that has no prime factor above 5.

    Example:
        >>> fast_size(125685)
        128000
    """
    size = least + least % 2
    while 30**30 % size:
        size += 2
    return size


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """Causal convolution, cut to T samples.

    Args:
        x: [R, T] or [R, C, T]; one signal for all kernels of a row, or one for each.
        kernels: [R, C, N].

    Returns:
        [R, C, T].
    """
    x = x if x.ndim == 3 else x[:, None]
    length = x.shape[-1]
    size = fast_size(length + kernels.shape[-1] - 1)
    both = torch.cat([functional.pad(part, (0, size - part.shape[-1])) for part in (x, kernels)], 1)
    spectra = torch.fft.rfft(both)  # at once, since MKL takes twice as long for one signal as for two
    return torch.fft.irfft(spectra[:, : x.shape[1]] * spectra[:, x.shape[1] :], size)[..., :length]


def early(impulse: Tensor, sample_rate: int) -> Tensor:
    """The direct sound, at time zero, and the early reflections of an impulse response [..., N]."""
    size = int(_EARLY_SECONDS * sample_rate)
    place = torch.arange(impulse.shape[-1], device=impulse.device)
    return impulse * (4 - 4 * place / max(1, size - 1)).clamp(0, 1)  # a hard cut would ring


class Spectrum:
    """Gains over frequency for signals of one length.

    Args:
        length: samples.
        sample_rate: Hz.
        device: of the signals.

    Example:
        >>> spectrum = Spectrum(1000, 8000, torch.device("cpu"))
        >>> loud = spectrum.equaliser(torch.full((1, 6), 6.0))
        >>> round(float(spectrum.filter(torch.ones(1, 1000), loud)[0, 0]), 3)  # 6 dB
        1.995
    """

    def __init__(self, length: int, sample_rate: int, device: torch.device) -> None:
        self._length, self._size = length, fast_size(length)
        frequency = np.linspace(0, sample_rate / 2, self._size // 2 + 1)
        knots = np.geomspace(60, sample_rate / 2, _POINTS)
        place = np.log(np.maximum(frequency, 30))
        hats = [np.interp(place, np.log(knots), point) for point in np.eye(_POINTS)]
        self._frequency = torch.tensor(frequency, dtype=torch.float32, device=device)
        self._place = self._frequency / (sample_rate / 2)
        self._hats = torch.tensor(np.array(hats), dtype=torch.float32, device=device)

    def equaliser(self, points_db: Tensor) -> Tensor:
        """A smooth gain [R, F], like that of another microphone, through six points [R, 6] from 60 Hz up."""
        return torch.exp2((points_db @ self._hats) * (math.log2(10) / 20))

    def band_limit(self, cutoff: Tensor) -> Tensor:
        """Gains [R, F]: nothing above `cutoff` [R, 1], a fraction of half the sample rate, as in old codecs.

        The roll-off takes a tenth of it. A cut-off at infinity changes nothing.
        """
        return (11 - 10 * self._place / cutoff).clamp(0, 1)

    def colour(self, slope: Tensor) -> Tensor:
        """Gains [R, F] that fall with frequency to the power of `slope` [R, 1]; below 20 Hz they are flat."""
        return (self._frequency.clamp(min=20) / 1000) ** -slope

    def filter(self, x: Tensor, gains: Tensor) -> Tensor:
        """Signals [..., T] with gains [..., F] applied."""
        single = x.numel() == x.shape[-1] and x.device.type == "cpu"
        if single:  # MKL takes twice as long for one signal as for two
            x = x.expand(2, *x.shape[1:])
        filtered = torch.fft.irfft(torch.fft.rfft(x, self._size) * gains, self._size)[..., : self._length]
        return filtered[:1] if single else filtered


def clip_peaks(x: Tensor, fraction: Tensor) -> Tensor:
    """Hard clipping at `fraction` [..., 1] of the peak."""
    limit = fraction * x.abs().amax(-1, keepdim=True)
    return torch.minimum(torch.maximum(x, -limit), limit)


def mu_law(x: Tensor) -> Tensor:
    """What an 8-bit mu-law codec (ITU-T G.711) leaves of a signal whose peak is full scale."""
    peak = x.abs().amax(-1, keepdim=True) + 1e-9
    code = torch.round(127 * torch.log1p(255 * (x / peak).abs()) / math.log(256)) / 127
    return x.sign() * torch.expm1(code * math.log(256)) / 255 * peak


def delayed(x: Tensor, frames: Tensor) -> Tensor:
    """Rows [R, T], each `frames` [R, 1] later, with silence before."""
    place = torch.arange(x.shape[-1], device=x.device) - frames
    return x.gather(-1, place.clamp(min=0)) * (place >= 0)
