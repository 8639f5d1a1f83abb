"""Gradients: collecting them, clipping their norm, and balancing those of two losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

# Replaces each tensor by its mean over the processes that share a batch.
Average = Callable[[Sequence[Tensor]], None]


def no_average(tensors: Sequence[Tensor]) -> None:
    """The `Average` of a single process."""
    del tensors


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """The gradients of the parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Clip the norm of all gradients at `limit`; returns the norm before clipping."""
    return nn.utils.clip_grad_norm_(list(parameters), limit)


def balanced(main: Tensor, adversarial: Tensor, at: Tensor, ratio: float, average: Average = no_average) -> Tensor:
    """A loss with the gradient of `adversarial` at the output `at`, rescaled to `ratio` times the norm of `main`'s.

    Esser et al. 2021, Eq. (7): there is no weight to tune, whatever the scale of the discriminators. The value of this
    loss is always zero. It is linear in `at`, so backpropagation does not pass through the discriminators again.
    """
    (wanted,) = torch.autograd.grad(main, at, retain_graph=True)
    (got,) = torch.autograd.grad(adversarial, at, retain_graph=True)
    powers = [wanted.abs().square().sum(), got.abs().square().sum()]
    average(powers)  # over the batch: a process's gradients are those of the whole batch up to a common factor
    scale = ratio * powers[0].sqrt() / (powers[1].sqrt() + 1e-8)
    slope = torch.view_as_real(scale * got) if got.is_complex() else scale * got
    value = torch.view_as_real(at) if at.is_complex() else at
    return (slope * (value - value.detach())).sum()
