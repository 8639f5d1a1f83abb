"""The compressed complex STFT (Richter et al. 2023, section IV-A): factor * |X|^exponent * e^(i angle X)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CompressedSTFT(nn.Module):
    """Waveform [B, C, T] <-> compressed spectrogram [B, C, n_fft // 2 + 1, N].

    Compression brings the heavy-tailed magnitudes of speech closer to the Gaussian noise that diffusion adds.

    Args:
        n_fft, hop_length: samples, n_fft even.
        window: "hann" or "sqrt_hann" (the choice for 50 % overlap), periodic.
        exponent: of the magnitude, in (0, 1].
        factor: scale of the compressed coefficients.
        law: "power" as above, or "log": factor * log(1 + |X|) instead, without exponent.
        framing: "whole", or "reflected", with which published models were trained: the signal is mirrored at its edges,
            and samples after the last whole hop get no frame.
        stereo: two channels as they are, "left_right", or as "mid_side": sum and difference over sqrt(2).

    Raises:
        ValueError: an odd n_fft, an unknown window, law, framing or stereo, a hop beyond half of n_fft, or an exponent
            or factor out of range.

    Example:
        >>> wave = torch.randn(1, 1, 1000)
        >>> transform = CompressedSTFT()
        >>> bool(torch.allclose(transform.inverse(transform(wave), 1000), wave, atol=1e-4))
        True
    """

    def __init__(
        self,
        n_fft: int = 510,
        hop_length: int = 128,
        window: str = "hann",
        exponent: float = 0.5,
        factor: float = 0.15,
        law: str = "power",
        framing: str = "whole",
        stereo: str = "left_right",
    ) -> None:
        super().__init__()
        if law not in ("power", "log"):
            raise ValueError(f"law must be 'power' or 'log', got {law!r}")
        if framing not in ("whole", "reflected"):
            raise ValueError(f"framing must be 'whole' or 'reflected', got {framing!r}")
        if stereo not in ("left_right", "mid_side"):
            raise ValueError(f"stereo must be 'left_right' or 'mid_side', got {stereo!r}")
        if window not in ("hann", "sqrt_hann"):
            raise ValueError(f"window must be 'hann' or 'sqrt_hann', got {window!r}")
        if not 0 < exponent <= 1:
            raise ValueError(f"exponent must be in (0, 1], got {exponent}")
        if factor <= 0:
            raise ValueError(f"factor must be positive, got {factor}")
        if n_fft % 2:
            raise ValueError(f"n_fft must be even, or frames would not lie on whole hops, got {n_fft}")
        if not 0 < hop_length <= n_fft // 2:
            raise ValueError(f"hop_length must be in [1, n_fft / 2], got {hop_length} for n_fft {n_fft}")
        self.n_fft, self.hop_length, self.exponent, self.factor = n_fft, hop_length, exponent, factor
        self.bins, self.law, self.framing = n_fft // 2 + 1, law, framing
        self.stereo = stereo
        shape = torch.hann_window(n_fft)
        self.register_buffer("window", shape.sqrt() if window == "sqrt_hann" else shape, persistent=False)
        self.window: Tensor

    @property
    def ragged(self) -> bool:
        """Whether a frame behind the end of a signal hears nothing of it, and nothing within hears that frame."""
        return self.framing == "whole" and self.n_fft == 2 * self.hop_length

    def forward(self, wave: Tensor) -> Tensor:
        """[B, C, T] -> complex [B, C, F, N] with N = ceil(T / hop_length) + 1, floor for the framing "reflected"."""
        wave = self._rotated(wave)
        batch, channels, length = wave.shape
        if self.framing == "whole":
            # Whole hops: the last samples lie under full windows, where the inverse is well conditioned.
            mode, missing = "constant", -length % self.hop_length
        else:
            # Reflection needs n_fft // 2 + 1 samples: very short signals are padded with silence.
            mode, missing = "reflect", max(0, self.n_fft // 2 + 1 - length)
        flat = functional.pad(wave.reshape(batch * channels, length), (0, missing))
        spectrum = torch.stft(flat, self.n_fft, self.hop_length, window=self.window, pad_mode=mode, return_complex=True)
        return self.compress(spectrum.reshape(batch, channels, *spectrum.shape[-2:]))

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """Complex [B, C, F, N] -> [B, C, length]; missing frames count as silence."""
        batch, channels, bins, frames = spectrum.shape
        flat = self.expand(spectrum).reshape(batch * channels, bins, frames)
        # Up to the last frame's centre; with reflected framing less than a hop follows it.
        whole = (frames - 1) * self.hop_length + (self.hop_length - 1 if self.framing == "reflected" else 0)
        if frames == 1:  # nothing is left of one frame without the padding
            return spectrum.real.new_zeros(batch, channels, length)
        pieces = self.frames(flat) * self.window
        kept = slice(self.n_fft // 2, self.n_fft // 2 + min(length, whole))
        envelope = self._added(self.window.square().expand(1, frames, -1))
        wave = self._added(pieces)[:, kept] / envelope[:, kept]
        return self._rotated(functional.pad(wave, (0, max(0, length - whole))).reshape(batch, channels, length))

    def frames(self, spectrum: Tensor) -> Tensor:
        """Frames [..., N, n_fft] of spectra [..., F, N] without compression.

        The first and the last bin of real frames are real. An imaginary part that a network puts there is left out: so
        `irfft` is defined, but not every library ignores it.
        """
        between = functional.pad(spectrum.imag[..., 1:-1, :], (0, 0, 1, 1))
        return torch.fft.irfft(torch.complex(spectrum.real, between).mT, self.n_fft)

    def _added(self, pieces: Tensor) -> Tensor:
        """Frames [B, N, n_fft] overlapped and added, [B, (N - 1) hop_length + n_fft].

        As torch.istft does it, to the bit. It also checks the windows' sum, for which it waits for the device.
        """
        batch, frames, size = pieces.shape
        length = (frames - 1) * self.hop_length + size
        return torch.ops.aten.unfold_backward(pieces, [batch, length], 1, size, self.hop_length)

    def _rotated(self, wave: Tensor) -> Tensor:
        """Left and right <-> mid and side: the rotation (with a reflection) is its own inverse."""
        if self.stereo == "left_right" or wave.shape[1] != 2:
            return wave
        left, right = wave.unbind(1)
        return torch.stack([left + right, left - right], 1) / 2**0.5

    def compress(self, spectrum: Tensor) -> Tensor:
        """The magnitude law alone, both complex."""
        if self.law == "log":
            magnitude = spectrum.abs() + 1e-12
            return spectrum * (self.factor * torch.log1p(magnitude) / magnitude)
        if self.exponent == 1:  # powers are slow
            return self.factor * spectrum
        return spectrum * (self.factor * (spectrum.abs() + 1e-12) ** (self.exponent - 1))

    def expand(self, spectrum: Tensor) -> Tensor:
        """Undo `compress`."""
        if self.law == "power" and self.exponent == 1:
            return spectrum / self.factor
        # |X|^(1/e) e^(i angle) without dividing by |X|, so the gradient at zero stays finite.
        magnitude = spectrum.abs() + 1e-12  # or the power's own gradient is infinite for exponents above 1/2
        if self.law == "log":
            return spectrum * (torch.expm1(magnitude / self.factor) / magnitude)
        return spectrum * (magnitude ** (1 / self.exponent - 1) / self.factor ** (1 / self.exponent))
