"""Flow matching from the anchor to clean, as in FlowSE: straight lines with linearly growing noise."""

from __future__ import annotations

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath


class FlowPath(GaussianPath):
    """x_t = (1 - t) x + t (y + sigma z): conditional flow matching (Lipman et al. 2023) with the prior N(y, sigma^2).

    The default sigma is FlowSE's (Lee et al. 2025). Given x, y and z the true velocity y + sigma z - x is constant.

    Args:
        sigma: the deviation at t = 1.
        t_min: smallest time in training.
        t_max: largest.

    Raises:
        ConfigError: sigma that is not positive.

    Example:
        >>> round(float(FlowPath().coefficients(torch.tensor(1.0)).sigma), 3)
        0.487
    """

    def __init__(self, sigma: float = 0.487, t_min: float = 0.03, t_max: float = 1.0) -> None:
        super().__init__(t_min, t_max)
        if sigma <= 0:
            raise ConfigError(f"flow: got sigma {sigma}; needs sigma > 0")
        self.sigma = sigma

    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b and the deviation at times `t` of any shape."""
        return Coefficients(1 - t, t, self.sigma * t)

    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b' and the variance's derivative at times `t`."""
        one = torch.ones_like(t)
        return Derivatives(-one, one, 2 * self.sigma**2 * t)
