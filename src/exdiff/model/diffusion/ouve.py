"""OUVE, the process of SGMSE+: an Ornstein-Uhlenbeck drift to the anchor, exploding noise (Richter et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath


class OUVEPath(GaussianPath):
    """dx = theta (y - x) dt + g dw,  g(t) = sigma_min r^t sqrt(2 log r),  r = sigma_max / sigma_min.

    The process of Richter et al. 2023 (SGMSE+); a = exp(-theta t), b = 1 - a. The defaults are the published ones for
    16 kHz (48 kHz: theta 2.0, sigma 0.1 to 1.0).

    Args:
        theta: stiffness of the pull to the anchor.
        sigma_min: smallest noise scale.
        sigma_max: largest noise scale; x_t at t = 1 has less (0.389 by default), because the drift damps it.
        t_min: smallest time in training.
        t_max: largest.

    Raises:
        ConfigError: anything but theta > 0 and 0 < sigma_min < sigma_max.

    Example:
        >>> round(float(OUVEPath().coefficients(torch.tensor(1.0)).sigma), 3)
        0.389
    """

    def __init__(
        self,
        theta: float = 1.5,
        sigma_min: float = 0.05,
        sigma_max: float = 0.5,
        t_min: float = 0.03,
        t_max: float = 1.0,
    ) -> None:
        super().__init__(t_min, t_max)
        if theta <= 0 or not 0 < sigma_min < sigma_max:
            raise ConfigError(
                f"ouve: got theta {theta}, sigma_min {sigma_min}, sigma_max {sigma_max}; "
                "needs theta > 0 and 0 < sigma_min < sigma_max"
            )
        self.theta = theta
        self.sigma_min = sigma_min
        self.log_ratio = math.log(sigma_max / sigma_min)

    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b, sigma at times `t` of any shape."""
        return Coefficients(torch.exp(-self.theta * t), -torch.expm1(-self.theta * t), self._variance(t).sqrt())

    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b', (sigma^2)' at times `t`; the variance obeys V' = g^2 - 2 theta V."""
        slope = self.theta * torch.exp(-self.theta * t)
        squared_diffusion = 2 * self.log_ratio * self.sigma_min**2 * torch.exp(2 * self.log_ratio * t)
        return Derivatives(-slope, slope, squared_diffusion - 2 * self.theta * self._variance(t))

    def _variance(self, t: Tensor) -> Tensor:
        total = self.theta + self.log_ratio
        growth = torch.exp(-2 * self.theta * t) * torch.expm1(2 * total * t)
        return self.sigma_min**2 * self.log_ratio / total * growth
