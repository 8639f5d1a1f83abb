"""Operations of PyTorch as ONNX can have them: in real numbers, and with sizes that follow the input.

Traced as they are, some of these would need complex numbers, some would hold the sizes of the example, and some are
missing in ONNX or round there in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.checkpoints.export.pair import Pair

# n -> cosines and sines [n // 2 + 1, n] of the discrete Fourier transform.
Waves = Callable[[int], tuple[Tensor, Tensor]]


def _stft(wave: Tensor, n_fft: int, *, hop_length: int, window: Tensor, pad_mode: str, waves: Waves, **_: Any) -> Pair:
    padded = functional.pad(wave[:, None], (n_fft // 2, n_fft // 2), mode=pad_mode)
    cosine, sine = waves(n_fft)
    kernels = (torch.cat([cosine, -sine]) * window).reshape(n_fft + 2, 1, n_fft)
    real, imag = functional.conv1d(padded, kernels, stride=hop_length).split(n_fft // 2 + 1, 1)
    return Pair(real, imag)


def _rfft(x: Tensor, *, waves: Waves, **_: Any) -> Pair:
    cosine, sine = waves(x.shape[-1])
    return Pair(x @ cosine.T, -(x @ sine.T))


def _irfft(spectrum: Pair, n: int, *, waves: Waves, **_: Any) -> Tensor:
    cosine, sine = waves(n)
    share = torch.full((n // 2 + 1,), 2 / n)  # all bins but the first and the last stand for two
    share = torch.cat([share[:1] / 2, share[1:-1], share[-1:] / 2])
    return (spectrum.real * share) @ cosine - (spectrum.imag * share) @ sine


def _overlap_add(pieces: Tensor, sizes: Sequence[int], dim: int, size: int, step: int) -> Tensor:
    """`unfold_backward` for pieces [B, N, size]: [B, sizes[1]]."""
    size = int(size)
    count = -(-size // step)  # each sample is in so many pieces
    steps = functional.pad(pieces, (0, count * step - size)).reshape(*pieces.shape[:2], count, step)
    shifted = [functional.pad(steps[:, :, i], (0, 0, i, count - 1 - i)) for i in range(count)]
    return sum(shifted[1:], shifted[0]).reshape(pieces.shape[0], -1)[:, : sizes[1]]


def _unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    dim %= x.ndim
    starts = torch.arange(_floor_divide(x.shape[dim] - size, step) + 1) * step
    windows = x.movedim(dim, -1)[..., starts[:, None] + torch.arange(size)]
    return windows.movedim(x.ndim - 1, dim)


def _unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _split(x: Tensor, size: int | Sequence[int], dim: int = 0) -> Sequence[Tensor]:
    if not isinstance(size, int) or dim != 0:
        return x.split(size, dim)
    return [x[start : start + size] for start in range(0, int(x.shape[0]), size)]


def _pad(x: Pair | Tensor, *args: Any, **kwargs: Any) -> Pair | Tensor:
    if isinstance(x, Pair):
        return x.each(lambda part: functional.pad(part, *args, **kwargs))
    return functional.pad(x, *args, **kwargs)


def _convolve(x: Tensor, weight: Tensor, *args: Any, function: Callable[..., Tensor], **kwargs: Any) -> Tensor:
    if not isinstance(weight, nn.Parameter):  # expanded to the channels of x, which a trace takes for any number
        weight = weight.reshape([int(size) for size in weight.shape])
    return function(x, weight, *args, **kwargs)


def _layer_norm(x: Tensor, shape: Sequence[int], *args: Any, **kwargs: Any) -> Tensor:
    return functional.layer_norm(x, [int(size) for size in shape], *args, **kwargs)


def _adaptive_avg_pool(x: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Products with matrices [in, out] of shares."""
    for axis, places in zip((-2, -1), sizes, strict=True):
        before = x.shape[axis]
        if before == places:
            continue
        place, entry = torch.arange(places), torch.arange(before)[:, None]
        start, end = _floor_divide(place * before, places), -_floor_divide(-(place + 1) * before, places)
        shares = ((entry >= start) & (entry < end)).float() / (end - start)
        x = (x.transpose(axis, -1) @ shares).transpose(axis, -1)
    return x


def _floor_divide(x: Any, divisor: int) -> Any:
    """Of whole numbers. ONNX's quotient is rounded towards zero, and models round up by -(-n // m)."""
    if isinstance(x, int):
        return x // divisor
    return torch.div(x - torch.remainder(x, divisor), divisor, rounding_mode="trunc")


def _log1p(x: Tensor) -> Tensor:
    total = 1 + x  # rounded, for which the quotient makes up
    return torch.where(total == 1, x, total.log() * x / (total - 1).where(total != 1, 1.0))


def _expm1(x: Tensor) -> Tensor:
    return torch.tanh(x / 2) * (torch.exp(x) + 1)


def recurrence(retention: Tensor, candidate: Tensor) -> Tensor:
    """`exdiff.model.nn.sequences.Recurrence` without steps in place: spans of 1, 2, 4, ... steps are joined."""
    keep = retention.sigmoid()
    both = []
    for backwards, (a, h) in enumerate(
        zip(keep.chunk(2, -1), (candidate - keep * candidate).chunk(2, -1), strict=True)
    ):
        span = 1
        while span < int(h.shape[1]):
            margins = (0, 0, -span, span) if backwards else (0, 0, span, -span)
            h = h + a * functional.pad(h, margins)
            a = a * functional.pad(a, margins)
            span *= 2
        both.append(h)
    return torch.cat(both, -1)


TRANSFORMS: dict[Any, Callable[..., Any]] = {torch.stft: _stft, torch.fft.rfft: _rfft, torch.fft.irfft: _irfft}
REPLACED: dict[Any, Callable[..., Any]] = {
    Tensor.__floordiv__: _floor_divide,
    Tensor.split: _split,
    Tensor.unflatten: _unflatten,
    Tensor.unfold: _unfold,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool,
    functional.conv2d: partial(_convolve, function=functional.conv2d),
    functional.conv_transpose2d: partial(_convolve, function=functional.conv_transpose2d),
    functional.layer_norm: _layer_norm,
    functional.pad: _pad,
    torch.complex: Pair,
    torch.expm1: _expm1,
    torch.log1p: _log1p,
    torch.ops.aten.unfold_backward: _overlap_add,
}
