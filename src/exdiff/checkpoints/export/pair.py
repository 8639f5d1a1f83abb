"""A complex tensor as a pair of real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Pair:
    """As much of a complex tensor's interface as the models use.

    Args:
        real, imag: of one shape.

    Example:
        >>> x = Pair(torch.tensor([3.0]), torch.tensor([4.0]))
        >>> x.abs(), (x * x).real
        (tensor([5.]), tensor([-7.]))
    """

    dtype = torch.complex64

    def __init__(self, real: Tensor, imag: Tensor) -> None:
        self.real, self.imag = real, imag

    @property
    def shape(self) -> tuple[int, ...]:
        """Of both parts. The first axis, of channels, never follows the input, and a trace must not think it does."""
        return int(self.real.shape[0]), *self.real.shape[1:]

    @property
    def ndim(self) -> int:
        """Of both parts."""
        return self.real.ndim

    @property
    def device(self) -> torch.device:
        """Of both parts."""
        return self.real.device

    @property
    def mT(self) -> Pair:
        """The last two axes exchanged."""
        return self.each(lambda x: x.transpose(-1, -2))

    def each(self, function: Callable[[Tensor], Tensor]) -> Pair:
        """A linear function of real tensors, applied to both parts."""
        return Pair(function(self.real), function(self.imag))

    def abs(self) -> Tensor:
        """The magnitude."""
        return (self.real.square() + self.imag.square()).sqrt()

    def reshape(self, *shape: int) -> Pair:
        """Like a tensor's."""
        return self.each(lambda x: x.reshape(*shape))

    def __getitem__(self, key: Any) -> Pair:
        return self.each(lambda x: x[key])

    def __neg__(self) -> Pair:
        return self.each(torch.neg)

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: Pair) -> Pair:
        return Pair(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: Pair | Tensor | float) -> Pair:
        if not isinstance(other, Pair):
            return self.each(lambda x: x * other)
        real = self.real * other.real - self.imag * other.imag
        return Pair(real, self.real * other.imag + self.imag * other.real)

    __rmul__ = __mul__

    def __truediv__(self, other: Tensor | float) -> Pair:
        return self.each(lambda x: x / other)

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return NotImplemented  # having this method, pairs may be arguments of torch's functions in `RealNumbers`
