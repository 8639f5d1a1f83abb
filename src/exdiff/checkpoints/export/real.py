"""A model's own code, run in real numbers and with noise that is given, so that its trace is an ONNX graph.

Where the code makes a complex tensor, it gets a pair of real ones. So there is no second implementation of networks,
samplers or transforms which could differ from the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from exdiff.checkpoints.export.operations import REPLACED, TRANSFORMS, recurrence
from exdiff.checkpoints.export.pair import Pair
from exdiff.model.nn.sequences import Recurrence


@contextmanager
def real_numbers(one: Tensor) -> Iterator[None]:
    """Complex tensors are pairs, and operations such that they can be traced.

    Args:
        one: an integer tensor, 1. Where it is a parameter of what is traced, the graph computes the matrices of Fourier
            transforms from it; otherwise they would be constants of some megabytes.

    Example:
        >>> wave, window = torch.randn(1, 64), torch.hann_window(16)
        >>> spectrum = torch.stft(wave, 16, 8, window=window, pad_mode="constant", return_complex=True)
        >>> with real_numbers(torch.tensor(1)):
        ...     pair = torch.stft(wave, 16, 8, window=window, pad_mode="constant", return_complex=True)
        >>> torch.allclose(pair.imag, spectrum.imag, atol=1e-5)
        True
    """
    with _Replacing(one), mock.patch.object(Recurrence, "apply", recurrence):
        yield


class _Replacing(TorchFunctionMode):
    def __init__(self, one: Tensor) -> None:
        super().__init__()
        self.one = one

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in TRANSFORMS:
            return TRANSFORMS[function](*args, **kwargs, waves=self._waves)
        used: Any = REPLACED.get(function, function)
        return used(*args, **kwargs)

    def _waves(self, n: int) -> tuple[Tensor, Tensor]:
        places = torch.arange(n * self.one)  # type: ignore[call-overload]
        turns = places[: n // 2 + 1, None] * places % n  # whole numbers, so that large angles lose nothing
        angle = turns.float() * (2 * math.pi / n)
        return angle.cos(), angle.sin()


class GivenNoise(TorchFunctionMode):
    """While it is entered, normal noise like complex tensors or pairs is taken from `noise`, one draw after the other.

    Args:
        noise: [D, C, F, N, 2], real and imaginary parts of unit variance, for D draws like [1, C, F, <= N]; None gives
            zeros.

    Attributes:
        drawn: how many draws there were.
    """

    def __init__(self, noise: Tensor | None) -> None:
        super().__init__()
        self.noise, self.drawn = noise, 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.randn_like or args[0].dtype != torch.complex64:
            return function(*args, **(kwargs or {}))
        like, self.drawn = args[0], self.drawn + 1
        if self.noise is None:
            return like * 0.0
        # A complex normal number has unit variance in total, each part half of it.
        part = self.noise[self.drawn - 1][None, ..., : like.shape[-1], :] * math.sqrt(0.5)
        real, imag = part[..., 0], part[..., 1]
        return Pair(real, imag) if isinstance(like, Pair) else torch.complex(real, imag)
