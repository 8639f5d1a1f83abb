"""Sample rate conversion with soxr, aligned in time: sample 0 stays at time 0."""

from __future__ import annotations

import numpy as np
import soxr

_TAIL = 64  # samples of silence after the end, so that the filter's last taps are not cut off


def resample(audio: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Convert float32 [T] or [C, T] from `source_rate` to `target_rate` Hz; gives ceil(T * target / source) samples.

    Example:
        >>> resample(np.zeros((2, 441), np.float32), 44100, 16000).shape
        (2, 160)
    """
    if source_rate == target_rate:
        return audio
    length = -(-audio.shape[-1] * target_rate // source_rate)
    tail = -(-_TAIL * max(source_rate, target_rate) // target_rate)
    padded = np.concatenate([audio, np.zeros((*audio.shape[:-1], tail), audio.dtype)], axis=-1)
    return np.ascontiguousarray(soxr.resample(padded.T, source_rate, target_rate).T[..., :length])
