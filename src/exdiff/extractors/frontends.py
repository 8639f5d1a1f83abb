"""What a foreign model is fed with, and how its output becomes a waveform again."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from exdiff.transforms import CompressedSTFT


class Frontend(Protocol):
    """Between waveforms [T] and the tensors of a model.

    Attributes:
        axes: the letters of what `features` gives, in order; n is time.
        hop: samples from one step of n to the next.
    """

    axes: str
    hop: int

    def features(self, wave: Tensor) -> Tensor:
        """Waveform [T] -> the tensor of those axes."""
        ...

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        """The model's output, of the same axes, -> waveform [about T]."""
        ...


class WaveFrontend:
    """The waveform itself, in full scale."""

    axes, hop = "n", 1

    def features(self, wave: Tensor) -> Tensor:
        return wave

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
        >>> spectrum = frontend.features(wave)
        >>> spectrum.shape, bool(torch.allclose(frontend.waveform(spectrum, wave), wave, atol=1e-5))
        (torch.Size([2, 33, 11]), True)
    """

    axes = "rfn"

    def __init__(
        self, n_fft: int = 512, hop_length: int = 256, window: str = "sqrt_hann", exponent: float = 1.0
    ) -> None:
        self.hop = hop_length
        self._transform = CompressedSTFT(n_fft, hop_length, window, exponent=exponent, factor=1.0)

    def features(self, wave: Tensor) -> Tensor:
        spectrum = self._transform(wave[None, None])[0, 0]
        return torch.stack([spectrum.real, spectrum.imag])

    def waveform(self, output: Tensor, wave: Tensor) -> Tensor:
        spectrum = torch.complex(output[0], output[1])
        return self._transform.inverse(spectrum[None, None], wave.shape[-1])[0, 0]


FRONTENDS = {"wave": WaveFrontend, "spectrum": SpectrumFrontend}
