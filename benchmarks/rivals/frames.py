"""Helpers for the rivals: frames of a signal, a short-time Fourier transform, 16-bit samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Process = Callable[[np.ndarray], np.ndarray]  # a whole signal, float32 [T], at the rival's rate -> the enhanced signal


def frames(wave: np.ndarray, size: int) -> np.ndarray:
    """Frames [N, size] of a signal, the last one zero-padded."""
    return np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)


def framewise(step: Process, size: int) -> Process:
    """Turn a function that enhances one frame into one that enhances a signal, frame by frame."""

    def process(wave: np.ndarray) -> np.ndarray:
        return np.concatenate([step(np.ascontiguousarray(frame, np.float32)) for frame in frames(wave, size)])

    return process


def to_pcm(wave: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as 16-bit integers."""
    return np.round(np.clip(wave, -1, 1) * 32767).astype("<i2")


def from_pcm(samples: bytes | np.ndarray) -> np.ndarray:
    """16-bit integers, or their bytes, as float32."""
    values = np.frombuffer(samples, "<i2") if isinstance(samples, bytes | bytearray) else samples
    return values.astype(np.float32) / 32768


def stft(wave: np.ndarray, size: int, hop: int, n_fft: int | None = None) -> np.ndarray:
    """Spectra [N, n_fft // 2 + 1] of frames of `size` with a square-root Hann window; `istft` inverts it."""
    padded = np.pad(wave, (size, size + -len(wave) % hop))
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * _window(size), n_fft, axis=1)


def istft(spectra: np.ndarray, size: int, hop: int, length: int) -> np.ndarray:
    """The signal [length] from the spectra that `stft` returns."""
    window = _window(size)
    pieces = np.fft.irfft(spectra, axis=1)[:, :size] * window
    wave, weight = np.zeros((2, (len(pieces) - 1) * hop + size))
    for start, piece in enumerate(pieces):
        wave[start * hop : start * hop + size] += piece
        weight[start * hop : start * hop + size] += window**2
    return (wave / np.maximum(weight, 1e-6))[size : size + length].astype(np.float32)


def _window(size: int) -> np.ndarray:
    return np.sqrt(np.hanning(size + 1)[:-1])
