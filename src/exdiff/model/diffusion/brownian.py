"""The Brownian bridge between clean and anchor: straight lines with noise in the middle."""

from __future__ import annotations

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath


class BrownianPath(GaussianPath):
    """x_t = (1 - t) x + t y + 2 sigma sqrt(t (1 - t)) z: a Brownian motion of variance 4 sigma^2 tied at both ends.

    The limit k -> 1 of `BridgePath` with c = 4 sigma^2; I2SB (Liu et al. 2023) uses the same family.

    Args:
        sigma: the deviation at its peak, t = 1/2; if it is about |x - y|, noise hides the residual there. The default
            suits compressed spectrograms of unit scale; the published bridge's 0.55 is several times as large.
        t_min: smallest time in training.
        t_max: largest. At 1 the bridge is tied to y: the deviation is zero and the prior is y itself.

    Attributes:
        total_variance: 4 sigma^2, so that the variance of x_t is total_variance * a * b.

    Raises:
        ConfigError: sigma that is not positive.

    Example:
        >>> round(float(BrownianPath(sigma=0.2).coefficients(torch.tensor(0.5)).sigma), 4)
        0.2
    """

    def __init__(self, sigma: float = 0.15, t_min: float = 1e-4, t_max: float = 1.0) -> None:
        super().__init__(t_min, t_max)
        if sigma <= 0:
            raise ConfigError(f"brownian: got sigma {sigma}; needs sigma > 0")
        self.sigma = sigma
        self.total_variance = 4 * sigma**2

    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b and the deviation at times `t` of any shape."""
        return Coefficients(1 - t, t, (self.total_variance * t * (1 - t)).sqrt())

    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b' and the variance's derivative at times `t`."""
        one = torch.ones_like(t)
        return Derivatives(-one, one, self.total_variance * (1 - 2 * t))
