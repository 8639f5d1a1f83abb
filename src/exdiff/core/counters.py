"""Random numbers without a state: each is a hash of (seed, stream, index, place), on any device.

A generator must draw in order, one example after the other, on its own device. A hash can be computed for all examples
of a batch at once, where they are needed, and an example gets the same numbers in any batch. The hash is splitmix64
(Steele et al. 2014), which passes the usual tests of randomness even for counters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


def keys(seed: int, stream: int, indices: Tensor) -> Tensor:
    """One key for each index; different seeds and streams give unrelated keys.

    Args:
        seed: of the run, 0 or more.
        stream: what the numbers are for.
        indices: int64, any shape.

    Returns:
        int64, on the device of `indices` and of its shape.

    Example:
        >>> keys(0, 1, torch.arange(2)).shape
        torch.Size([2])
    """
    start = _scrambled((_scrambled(seed) + stream) & _MASK)
    return _hash(_hash(indices + _signed(start)) + _signed(start))


def uniform(key: Tensor, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """`count` numbers in [0, 1) for each key, of 24 random bits as float32 and 53 as float64.

    Example:
        >>> numbers = uniform(keys(0, 0, torch.arange(1000)), 3)
        >>> numbers.shape, bool((0.4 < numbers.mean()) & (numbers.mean() < 0.6))
        (torch.Size([1000, 3]), True)
    """
    bits = 53 if dtype == torch.float64 else 24
    return _shifted(_words(key, count), 64 - bits).to(dtype) * 2.0**-bits


def normal(key: Tensor, count: int) -> Tensor:
    """`count` standard normal numbers for each key, float32 (Box and Muller 1958; none exceeds 5.8).

    Example:
        >>> numbers = normal(keys(0, 0, torch.arange(1000)), 3)
        >>> numbers.shape, bool((0.9 < numbers.std()) & (numbers.std() < 1.1))
        (torch.Size([1000, 3]), True)
    """
    words = _words(key, -(-count // 2))
    radius = (-2 * torch.log((_shifted(words, 40) + 1).float() * 2.0**-24)).sqrt()
    angle = (words & 0xFFFFFF).float() * (2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], -1)[..., :count]


def _words(key: Tensor, count: int) -> Tensor:
    """64 random bits for each key and place, [..., count]."""
    places = torch.arange(1, count + 1, device=key.device) * _signed(_STEP)
    return _hash(key[..., None] + places)


def _hash(x: Tensor) -> Tensor:
    """splitmix64's finaliser; int64 arithmetic wraps around, as it needs."""
    x = (x ^ _shifted(x, 30)) * _signed(_FIRST)
    x = (x ^ _shifted(x, 27)) * _signed(_SECOND)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, places: int) -> Tensor:
    """`x` moved right, with zeros from the left: torch's shift repeats the sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _scrambled(number: int) -> int:
    """One step of splitmix64 for a Python integer."""
    x = (number + _STEP) & _MASK
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
