"""Sample rate conversion of a stream with a known, short delay: a windowed sinc, polyphase.

soxr, which converts files here, holds back 20 to 120 ms of a stream, at any quality above linear interpolation.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_LOBES = 32  # of the sinc on each side: 2 ms at 16 kHz
_ROLLOFF = 0.93  # cutoff, of the lower Nyquist frequency; flat to 0.84, nothing left from 1.02
_BETA = 9.0  # of the Kaiser window: 90 dB


class LiveResampler:
    """Float32 [C, n] in chunks of any size -> [C, any] at another rate; sample 0 stays at time 0.

    Args:
        source_rate, target_rate: Hz.
        channels: C.

    Attributes:
        ahead: samples of the source. An output sample waits for this many behind its own place.

    Example:
        >>> resampler = LiveResampler(48000, 16000, 2)
        >>> resampler.ahead, resampler.feed(np.zeros((2, 480), np.float32)).shape
        (96, (2, 128))
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        divisor = math.gcd(source_rate, target_rate)
        self._up, self._down = target_rate // divisor, source_rate // divisor
        self._kernels = _kernels(self._up, self._down)
        self.ahead = self._kernels.shape[1] // 2
        self._held = np.zeros((channels, self.ahead - 1), np.float32)  # before the stream: silence
        self._start = 1 - self.ahead  # number of the first sample held
        self._given = 0

    def feed(self, audio: np.ndarray) -> np.ndarray:
        """What can be computed now, [C, any]."""
        held = np.concatenate([self._held, audio], 1)
        heard = self._start + held.shape[1]
        end = max(self._given, -(-(heard - self.ahead) * self._up // self._down))
        number = np.arange(self._given, end + 1)
        first = number * self._down // self._up + 1 - self.ahead - self._start
        self._given, self._held = end, held[:, first[-1] :]  # what the next output sample needs
        self._start += int(first[-1])
        if len(number) == 1:
            return held[:, :0]
        windows = np.lib.stride_tricks.sliding_window_view(held, 2 * self.ahead, 1)[:, first[:-1]]
        return np.einsum("cnk,nk->cn", windows, self._kernels[number[:-1] * self._down % self._up])


@functools.lru_cache(4)
def _kernels(up: int, down: int) -> np.ndarray:
    """[up, 2 * ahead]: in row p, weights of the samples around a place p / up behind a sample of the source."""
    scale = min(1.0, up / down)
    ahead = math.ceil(_LOBES / scale)
    place = np.arange(1 - ahead, ahead + 1) - np.arange(up)[:, None] / up
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (place / ahead) ** 2, 0, None)))
    kernels = np.sinc(_ROLLOFF * scale * place) * window
    return (kernels / kernels.sum(1, keepdims=True)).astype(np.float32)
