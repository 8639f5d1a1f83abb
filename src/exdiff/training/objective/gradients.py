"""Gradients: joining them, clipping their norm, and balancing those of two losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

# Replaces each tensor by its mean over the processes that share a batch.
Average = Callable[[Sequence[Tensor]], None]


def no_average(tensors: Sequence[Tensor]) -> None:
    """The `Average` of a single process."""
    del tensors


def join_gradients(parameters: Iterable[nn.Parameter]) -> Tensor:
    """All gradients in one vector, of which each `grad` becomes a view: what changes the vector changes them all.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2, 2))
        >>> weight.sum().backward()
        >>> joined = join_gradients([weight]).mul_(3)
        >>> weight.grad.tolist()
        [[3.0, 3.0], [3.0, 3.0]]
    """
    held = [p for p in parameters if p.grad is not None]
    joined = torch.cat([p.grad.reshape(-1) for p in held if p.grad is not None])
    for parameter, part in zip(held, joined.split([p.numel() for p in held]), strict=True):
        parameter.grad = part.view(parameter.shape)
    return joined


def clip(gradient: Tensor, limit: float) -> Tensor:
    """Scale a vector to a norm of at most `limit`, in place; returns the norm before.

    A vector whose norm is not finite becomes zero. That is decided on its device: the host need not wait.
    """
    norm = gradient.norm()
    gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0)).masked_fill_(~norm.isfinite(), 0.0)
    return norm


def balanced(main: Tensor, adversarial: Tensor, at: Tensor, ratio: float, average: Average = no_average) -> Tensor:
    """The loss `main` plus `adversarial`, whose gradient at the output `at` gets `ratio` times the norm of `main`'s.

    Esser et al. 2021, Eq. (7): there is no weight to tune, whatever the scale of the discriminators. The value is that
    of `main`. It is linear in `at`, so that backpropagation does not pass through the two losses again: `main` must
    depend on the model through `at` alone.
    """
    (wanted,) = torch.autograd.grad(main, at, retain_graph=True)
    (got,) = torch.autograd.grad(adversarial, at)
    powers = [wanted.abs().square().sum(), got.abs().square().sum()]
    average(powers)  # over the batch: a process's gradients are those of the whole batch up to a common factor
    slope = wanted + ratio * powers[0].sqrt() / (powers[1].sqrt() + 1e-8) * got
    slope, value = (torch.view_as_real(x) if x.is_complex() else x for x in (slope, at))
    return main.detach() + (slope * (value - value.detach())).sum()
