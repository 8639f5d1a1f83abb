"""The variance-exploding Schrödinger bridge between clean and anchor (Jukic et al. 2024, Table 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.noise import Generators
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath


class BridgePath(GaussianPath):
    """The process dx = sqrt(c) k^t dw, tied to x at t = 0 and to y at t = 1.

    With s^2 = c (k^(2t) - 1) / (2 log k) the variance of the untied process, s_T^2 its value at 1 and
    sbar^2 = s_T^2 - s^2, Eq. (11) of Jukic et al. 2024 reads a = sbar^2 / s_T^2, b = s^2 / s_T^2, sigma = s sbar / s_T.
    In a and b the constant c cancels, and sigma^2 = s_T^2 a b: so **c only scales the noise, sigma ~ sqrt(c)**, while
    k shapes all three. Set c for a peak deviation of the size of |x - y|; the published 0.4 gives 0.55.

    Args:
        k: base of the diffusion's growth.
        c: scale of the squared diffusion.
        t_min: smallest time in training; the published sampler stops at it.
        t_max: largest. At 1 the bridge is tied to y: sigma is zero and the prior is y itself.
        guard: added to sbar^2 and to denominators. The released code has 1e-8, which models trained with it need; sigma
            is then sqrt(guard) at t = 1. This implementation needs none.

    Attributes:
        total_variance: s_T^2, so that sigma^2 = total_variance * a * b.

    Raises:
        ConfigError: anything but k > 1, c > 0 and guard >= 0.

    Example:
        >>> t = torch.tensor(0.7)
        >>> quiet, loud = BridgePath(c=0.1).coefficients(t), BridgePath(c=0.4).coefficients(t)
        >>> round(float(loud.sigma / quiet.sigma), 5), float(loud.a - quiet.a)
        (2.0, 0.0)
    """

    def __init__(
        self, k: float = 2.6, c: float = 0.4, t_min: float = 1e-4, t_max: float = 1.0, guard: float = 0.0
    ) -> None:
        super().__init__(t_min, t_max)
        if k <= 1 or c <= 0:
            raise ConfigError(f"bridge: got k {k} and c {c}; needs k > 1 and c > 0 (k = 1 is the path 'brownian')")
        if guard < 0:
            raise ConfigError(f"bridge: got guard {guard}; needs 0 or more")
        self.k = k
        self.c = c
        self.guard = guard
        self.kappa = 2 * math.log(k)
        self.total_variance = c * math.expm1(self.kappa) / self.kappa

    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b, sigma at times `t` of any shape; expm1 keeps them exact at both ends, where sigma is zero."""
        if self.guard:
            s, s_bar, s_end = self.deviations(t)
            total = s_end**2 + self.guard
            b = s**2 / total / (1 + self.guard)
            return Coefficients(s_bar**2 / total, b, s * s_bar / (s_end + self.guard))
        scale = math.expm1(self.kappa)
        a = torch.exp(self.kappa * t) * torch.expm1(self.kappa * (1 - t)) / scale
        b = torch.expm1(self.kappa * t) / scale
        return Coefficients(a, b, (self.total_variance * a * b).sqrt())

    def deviations(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The guarded s, sbar and s_T at times `t`, in the released code's order of operations.

        Near t = 1 the guard is as small as float32's rounding errors: a more accurate formula would differ visibly.
        """
        slope = 2 * torch.log(torch.full((), self.k, dtype=t.dtype, device=t.device))
        s = torch.sqrt(self.c * (self.k ** (2 * t) - 1.0) / slope)
        s_end = torch.sqrt(self.c * (self.k**2 - 1.0) / slope)
        return s, torch.sqrt((s_end**2 - s**2).clamp_min(0) + self.guard), s_end

    def prior(
        self, y: Tensor, generator: Generators = None, noise_scale: float = 1.0, *, t: float | None = None
    ) -> Tensor:
        # The guard's noise is not part of the process.
        return y if (self.t_max if t is None else t) == 1 else super().prior(y, generator, noise_scale, t=t)

    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b', (sigma^2)' at times `t`."""
        a, b, _ = self.coefficients(t)
        slope = self.kappa / math.expm1(self.kappa) * torch.exp(self.kappa * t)
        return Derivatives(-slope, slope, self.total_variance * slope * (a - b))
