"""Convert a user's array to float32 [B, C, T] on its own device, and back to its type, shape and sample format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exdiff.core.errors import AudioError

Audio = TypeVar("Audio", np.ndarray, Tensor)

_MOST_CHANNELS = 64
_RATES = (1000, 768_000)  # Hz


@dataclass(frozen=True)
class ArrayFormat:
    """How an array looked before `to_float`.

    Attributes:
        dtype: numpy's or torch's.
        axes: 1 for [T], 2 for [C, T], 3 for [B, C, T].
        channels_last: the last two axes are [T, C].
        device: of a tensor; None for numpy.
        full_scale: of integer samples, 1 for floats.
        middle: the integer that means zero.
    """

    dtype: Any
    axes: int
    channels_last: bool
    device: torch.device | None
    full_scale: int
    middle: int

    def restore(self, audio: Tensor) -> Any:
        """Float32 [B, C, T] -> the user's kind of array."""
        if self.full_scale != 1:
            # Clipped as floats first: a float beyond 64 bits has no integer.
            whole = (audio * self.full_scale).round().clamp(-self.full_scale, self.full_scale).long()
            audio = whole.clamp(-self.full_scale, self.full_scale - 1) + self.middle
        if self.axes < 3:
            audio = audio[0]
        if self.axes == 1:
            audio = audio[0]
        elif self.channels_last:
            audio = audio.transpose(-1, -2)
        if self.device is None:
            return audio.contiguous().numpy().astype(self.dtype, copy=False)
        return audio.to(self.device, self.dtype).contiguous()


def to_float(audio: Any, *, channels_last: bool = False) -> tuple[Tensor, ArrayFormat]:
    """A numpy or torch array [T], [C, T] or [B, C, T] as finite float32 [B, C, T], and its format.

    The samples are a copy, on the device of the array. Integers are scaled to [-1, 1), as PCM is.

    Args:
        audio: the array.
        channels_last: it is [T], [T, C] or [B, T, C].

    Raises:
        AudioError: another type or shape, or NaN or infinite values.

    Example:
        >>> samples, form = to_float(np.array([0, 16384], dtype=np.int16))
        >>> samples.tolist(), form.restore(samples).tolist()
        ([[[0.0, 0.5]]], [0, 16384])
    """
    if not isinstance(audio, np.ndarray | Tensor):
        raise AudioError(f"audio must be a numpy array or a torch tensor, got {type(audio).__name__}")
    _check_shape(tuple(audio.shape), channels_last)
    full_scale, middle = _scale(audio.dtype)
    samples = _float_tensor(audio, full_scale, middle)
    if not bool(samples.isfinite().all()):
        raise AudioError("the audio holds NaN or infinite values; replace them before it is enhanced")
    if channels_last and audio.ndim > 1:
        samples = samples.transpose(-1, -2).contiguous()
    device = audio.device if isinstance(audio, Tensor) else None
    form = ArrayFormat(audio.dtype, audio.ndim, channels_last, device, full_scale, middle)
    return samples.reshape((1,) * (3 - audio.ndim) + tuple(samples.shape)), form


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


def _check_shape(shape: tuple[int, ...], channels_last: bool) -> None:
    layout, other = ("[T, C]", "[C, T]") if channels_last else ("[C, T]", "[T, C]")
    batch = f"[B, {layout[1:]}"
    if len(shape) not in (1, 2, 3):
        raise AudioError(f"audio must have the shape [T], {layout} or {batch}, got {list(shape)}")
    if len(shape) == 1:
        return
    time, channels = shape[-2:] if channels_last else (shape[-1], shape[-2])
    if not 1 <= channels <= _MOST_CHANNELS:
        looks_swapped = 1 <= time <= _MOST_CHANNELS < channels
        remedy = "leave channels_last out" if channels_last else "pass channels_last=True"
        hint = f"; it looks like {other}: {remedy}" if looks_swapped else ""
        raise AudioError(f"audio {layout} must have 1 to {_MOST_CHANNELS} channels, got the shape {list(shape)}{hint}")


def _scale(dtype: Any) -> tuple[int, int]:
    """Full scale and the integer that means zero, of a dtype of numpy's or torch's."""
    if isinstance(dtype, torch.dtype):
        if dtype.is_floating_point:
            return 1, 0
        whole = not dtype.is_complex and dtype != torch.bool
        bits, signed = (torch.iinfo(dtype).bits, dtype.is_signed) if whole else (0, False)
    else:
        if dtype.kind == "f":
            return 1, 0
        bits, signed = (8 * dtype.itemsize, dtype.kind == "i") if dtype.kind in "iu" else (0, False)
    if not 0 < bits <= 32:
        name = str(dtype).removeprefix("torch.")
        raise AudioError(f"audio must hold floats or integers of up to 32 bits, got {name}")
    full_scale = 2 ** (bits - 1)
    return full_scale, 0 if signed else full_scale


def _float_tensor(audio: np.ndarray | Tensor, full_scale: int, middle: int) -> Tensor:
    """A float32 copy, of the same shape."""
    floats = full_scale == 1
    if isinstance(audio, np.ndarray):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            samples = torch.from_numpy(audio.astype(np.float32 if floats else np.int64, order="C"))
    else:
        samples = audio.detach().to(torch.float32 if floats else torch.int64, copy=True).contiguous()
    return samples if floats else (samples - middle).float() / full_scale
