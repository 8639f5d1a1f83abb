"""Samples of FFmpeg's frames as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler

_MAX_PLANES = 8


class PackedFrames:
    """Samples of frames. PyAV reads beyond its list of planes if there are eight or more, so they are interleaved."""

    def __init__(self) -> None:
        self._resampler: AudioResampler | None = None

    def samples(self, frame: AudioFrame, bits: int, order: list[int] | None) -> np.ndarray:
        """Samples [C, T] of `frame`: int32 of `bits` bits, or float32 if `bits` is 0; channels arranged by `order`."""
        from av import AudioResampler

        channels = frame.layout.nb_channels
        if frame.format.is_planar and channels >= _MAX_PLANES:
            self._resampler = self._resampler or AudioResampler(format=frame.format.name.removesuffix("p"))
            parts = [part.to_ndarray().reshape(-1, channels) for part in self._resampler.resample(frame)]
            data = np.concatenate(parts).T
        else:
            data = frame.to_ndarray()
            data = data if frame.format.is_planar else data.reshape(-1, channels).T
        return _values(data if order is None else data[order], bits)


def _values(data: np.ndarray, bits: int) -> np.ndarray:
    if data.dtype.kind == "f":
        return np.ascontiguousarray(data, np.float32)
    width = 8 * data.dtype.itemsize
    if data.dtype.kind == "u":
        data = data.astype(np.int32) - (1 << (width - 1))
    if bits:
        return np.ascontiguousarray(data.astype(np.int32) >> max(0, width - bits))
    return np.ascontiguousarray(data.astype(np.float32) * np.float32(2.0 ** (1 - width)))
