"""BBED: a Brownian bridge with exponentially growing diffusion (Lay et al. 2023, "Reducing the Prior Mismatch")."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath

_TERMS = 50  # of the series; past n = kappa its terms fall faster than geometrically, and no dtype resolves the rest


class BBEDPath(GaussianPath):
    """dx = (y - x) / (1 - t) dt + sqrt(theta) k^t dw.

    a = 1 - t, b = t, and with kappa = 2 log k the variance of Lay et al. 2023:

        sigma^2 = theta (1 - t)^2 [ k^(2t) / (1 - t) - 1 - kappa k^2 {E1(kappa (1 - t)) - E1(kappa)} ],  E1(u) = -Ei(-u)

    Args:
        k: base of the diffusion's growth.
        theta: scale of the squared diffusion.
        t_min: smallest time in training.
        t_max: largest; the process is singular at 1. The published sampler starts at 0.5 with 15 steps.

    Raises:
        ConfigError: anything but 1 < k <= 10 (beyond it float32 loses digits of sigma), theta > 0 and t_max < 1.

    Example:
        >>> float(BBEDPath().coefficients(torch.tensor(0.25)).a)
        0.75
    """

    def __init__(self, k: float = 2.6, theta: float = 0.52, t_min: float = 0.03, t_max: float = 0.999) -> None:
        super().__init__(t_min, t_max)
        if not 1 < k <= 10 or theta <= 0 or t_max >= 1:
            raise ConfigError(f"bbed: got k {k}, theta {theta}, t_max {t_max}; needs 1 < k <= 10, theta > 0, t_max < 1")
        self.k = k
        self.theta = theta
        self.kappa = 2 * math.log(k)

    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b, sigma at times `t` of any shape."""
        return Coefficients(1 - t, t, self._variance(t).sqrt())

    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b', (sigma^2)' at times `t`; the variance obeys V' = g^2 - 2 V / (1 - t)."""
        one = torch.ones_like(t)
        pull = 2 * self._variance(t) / (1 - t).clamp_min(torch.finfo(t.dtype).tiny)
        return Derivatives(-one, one, self.theta * torch.exp(self.kappa * t) - pull)

    def _variance(self, t: Tensor) -> Tensor:
        """The bracket above is the integral of k^(2u) / (1 - u)^2 from 0 to t, regrouped so that nothing cancels."""
        rest = 1 - t
        integral = (t + torch.expm1(self.kappa * t)) * rest - self.kappa * rest**2 * self._exponential_integral(t)
        return self.theta * integral.clamp_min(0)

    def _exponential_integral(self, t: Tensor) -> Tensor:
        """k^2 {E1(kappa (1 - t)) - E1(kappa)}, the integral of k^(2u) / (1 - u), by the power series of k^(2u).

        Its terms are kappa^n / n! K_n with K_n the integral of u^n / (1 - u): all positive, and K_n = K_{n-1} - t^n / n
        from K_0 = -log(1 - t). E1 itself would diverge at both ends of this difference.
        """
        order = torch.arange(1, _TERMS + 1, dtype=t.dtype, device=t.device)
        first = -torch.log1p(-t)
        moments = (first[..., None] - torch.cumsum(t[..., None] ** order / order, -1)).clamp_min(0)
        return first + (moments * _weights(self.kappa, t.dtype, t.device)).sum(-1)


@functools.cache
def _weights(kappa: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """kappa^n / n! for n >= 1; copied to a device once, since copying waits for it."""
    return torch.tensor([kappa**n / math.factorial(n) for n in range(1, _TERMS + 1)], dtype=dtype, device=device)
