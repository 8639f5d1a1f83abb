"""Frontends of third-party models: from waveforms to their inputs, and from their output back to a waveform."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from exdiff.model.transforms import CompressedSTFT


class Frontend(Protocol):
    """The conversion between waveforms [T] and the tensors of a model.

    Attributes:
        axes: for each tensor that `features` returns, the letters of its axes; n is time and comes last.
        hop: samples per step of n.
    """

    axes: tuple[str, ...]
    hop: int

    def features(self, wave: Tensor) -> tuple[Tensor, ...]:
        """Waveform [T] -> one tensor for each entry of `axes`."""
        ...

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        """The model's output, with the axes of the first tensor, -> waveform [about T]."""
        ...


class WaveFrontend:
    """The waveform itself, unscaled."""

    axes, hop = ("n",), 1

    def features(self, wave: Tensor) -> tuple[Tensor, ...]:
        return (wave,)

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        return output


class SpectrumFrontend:
    """Real and imaginary part of a short-time Fourier transform: axes r (the two parts), f, n.

    Args:
        n_fft, hop_length: samples.
        window: "hann" or "sqrt_hann".
        exponent: compression of the magnitude, 1 for none.

    Example:
        >>> frontend, wave = SpectrumFrontend(64, 32), torch.randn(320)
        >>> (spectrum,) = frontend.features(wave)
        >>> spectrum.shape, bool(torch.allclose(frontend.waveform(spectrum, wave), wave, atol=1e-5))
        (torch.Size([2, 33, 11]), True)
    """

    axes = ("rfn",)

    def __init__(
        self, n_fft: int = 512, hop_length: int = 256, window: str = "sqrt_hann", exponent: float = 1.0
    ) -> None:
        self.hop = hop_length
        self._transform = CompressedSTFT(n_fft, hop_length, window, exponent=exponent, factor=1.0)

    def features(self, wave: Tensor) -> tuple[Tensor, ...]:
        spectrum = self._transform(wave[None, None])[0, 0]
        return (torch.stack([spectrum.real, spectrum.imag]),)

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        spectrum = torch.complex(output[0], output[1])
        return self._transform.inverse(spectrum[None, None], wave.shape[-1])[0, 0]


class DeepFilterFrontend:
    """Inputs of DeepFilterNet's encoder (Schröter et al. 2022): band energies and the lowest bins; 48 kHz, hop 10 ms.

    Both are relative to their running means. The encoder's output is no waveform.

    Args:
        bands: on the ERB scale; axes f, n.
        bins: of the complex spectrum; axes r, f, n.

    Example:
        >>> energies, spectrum = DeepFilterFrontend().features(torch.randn(4800))
        >>> tuple(energies.shape), tuple(spectrum.shape)
        ((32, 11), (2, 96, 11))
    """

    axes, hop = ("fn", "rfn"), 480
    _SIZE, _MEMORY = 960, 0.99

    def __init__(self, bands: int = 32, bins: int = 96) -> None:
        self.bins, self.widths = bins, erb_widths(bands, self._SIZE, 48000)
        phase = (torch.arange(self._SIZE, dtype=torch.float32) + 0.5) / self._SIZE
        self._window = torch.sin(0.5 * math.pi * torch.sin(math.pi * phase) ** 2)  # Vorbis

    def features(self, wave: Tensor) -> tuple[Tensor, ...]:
        spectrum = torch.stft(wave, self._SIZE, self.hop, window=self._window, pad_mode="constant", return_complex=True)
        spectrum = spectrum / self._SIZE
        power = torch.stack([band.mean(0) for band in spectrum.abs().square().split(self.widths)])
        level = 10 * torch.log10(power + 1e-10)
        energies = (level - self._mean(level, torch.linspace(-60, -90, len(level), dtype=torch.float32))) / 40
        low = spectrum[: self.bins]
        low = low / self._mean(low.abs(), torch.linspace(1e-3, 1e-4, self.bins, dtype=torch.float32)).sqrt()
        return energies, torch.stack([low.real, low.imag])

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        raise ValueError("a model behind the deepfilter frontend gives no waveform; leave its output out")

    def _mean(self, x: Tensor, start: Tensor) -> Tensor:
        """Exponential running mean along the last axis."""
        means = []
        for now in x.unbind(-1):
            start = self._MEMORY * start + (1 - self._MEMORY) * now
            means.append(start)
        return torch.stack(means, -1)


def erb_widths(bands: int, n_fft: int, rate: int, least: int = 2) -> list[int]:
    """Bins of each of `bands` bands of equal width on the ERB scale (Glasberg and Moore 1990), at least `least` each.

    Example:
        >>> sum(erb_widths(32, 960, 48000)), erb_widths(32, 960, 48000)[:8]
        (481, [2, 2, 2, 2, 2, 2, 2, 2])
    """
    factor = 24.7 * 9.265
    step = 9.265 * math.log1p(rate / 2 / factor) / bands
    widths, last, borrowed = [], 0, 0
    for i in range(1, bands + 1):
        edge = round(factor * math.expm1(i * step / 9.265) * n_fft / rate)
        width = edge - last - borrowed
        borrowed = max(0, least - width)
        widths.append(width + borrowed)
        last = edge
    widths[-1] += n_fft // 2 + 1 - sum(widths)
    return widths


FRONTENDS = {"wave": WaveFrontend, "spectrum": SpectrumFrontend, "deepfilter": DeepFilterFrontend}
