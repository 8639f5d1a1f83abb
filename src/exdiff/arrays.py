"""Whatever array a user holds, as float32 [C, T], and the way back to its own type, shape and sample format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exdiff.errors import AudioError

Audio = TypeVar("Audio", np.ndarray, Tensor)

_MOST_CHANNELS = 64
_RATES = (1000, 768_000)  # Hz


@dataclass(frozen=True)
class Form:
    """How an array looked before `to_float`."""

    dtype: Any  # numpy's or torch's
    flat: bool  # [T] rather than [C, T]
    device: torch.device | None  # None for numpy
    full_scale: float  # of integer samples, 1 for floats
    middle: int  # the integer that means zero

    def restore(self, audio: np.ndarray) -> Any:
        """Float32 [C, T] -> the user's own kind of array."""
        if self.full_scale != 1:
            whole = np.rint(audio.astype(np.float64) * self.full_scale)
            audio = np.clip(whole, -self.full_scale, self.full_scale - 1) + self.middle
        audio = audio[0] if self.flat else audio
        if self.device is None:
            return audio.astype(self.dtype)
        return torch.from_numpy(np.ascontiguousarray(audio)).to(self.device, self.dtype)


def to_float(audio: Any) -> tuple[np.ndarray, Form]:
    """A numpy or torch array [T] or [C, T] as finite float32 [C, T], and its form.

    Integer samples are scaled to [-1, 1), as PCM is.

    Raises:
        AudioError: another type or shape, or NaN or infinite values.

    Example:
        >>> samples, form = to_float(np.array([0, 16384], dtype=np.int16))
        >>> samples.tolist(), form.restore(samples).tolist()
        ([[0.0, 0.5]], [0, 16384])
    """
    if isinstance(audio, Tensor):
        plain = audio.detach()
        array = (plain.float() if plain.is_floating_point() else plain).cpu().numpy()
        dtype, device = audio.dtype, audio.device
    elif isinstance(audio, np.ndarray):
        array, dtype, device = audio, audio.dtype, None
    else:
        raise AudioError(f"audio must be a numpy array or a torch tensor, got {type(audio).__name__}")
    _check_shape(array.shape)
    full_scale, middle = _scale(array.dtype)
    flat = array.ndim == 1
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused below
        samples = (array if full_scale == 1 else (array.astype(np.float64) - middle) / full_scale).astype(np.float32)
    if not np.isfinite(samples).all():
        raise AudioError("the audio holds NaN or infinite values; replace them before it is enhanced")
    return np.atleast_2d(samples), Form(dtype, flat, device, full_scale, middle)


def check_rate(sample_rate: Any) -> int:
    """A sample rate as an int.

    Raises:
        AudioError: not a whole number of Hz between 1000 and 768000.
    """
    if isinstance(sample_rate, bool) or not np.isscalar(sample_rate) or isinstance(sample_rate, str | bytes | complex):
        raise AudioError(f"sample_rate must be a whole number of Hz, got {sample_rate!r}")
    number = float(sample_rate)  # pyright: ignore[reportArgumentType]
    if not number.is_integer() or not _RATES[0] <= number <= _RATES[1]:
        raise AudioError(f"sample_rate must be a whole number of Hz from {_RATES[0]} to {_RATES[1]}, got {sample_rate}")
    return int(number)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (1, 2):
        raise AudioError(f"audio must have the shape [T] or [C, T], got {list(shape)}")
    if len(shape) == 2 and not 1 <= shape[0] <= _MOST_CHANNELS:
        hint = "; it looks like [T, C]: transpose it" if 1 <= shape[1] <= _MOST_CHANNELS < shape[0] else ""
        raise AudioError(f"audio [C, T] must have 1 to {_MOST_CHANNELS} channels, got the shape {list(shape)}{hint}")


def _scale(dtype: np.dtype[Any]) -> tuple[float, int]:
    """Full scale and the integer that means zero."""
    if dtype.kind == "f":
        return 1, 0
    if dtype.kind in "iu" and dtype.itemsize <= 4:
        half = 2.0 ** (8 * dtype.itemsize - 1)
        return half, int(half) if dtype.kind == "u" else 0
    raise AudioError(f"audio must hold floats or integers of up to 32 bits, got {dtype}")
