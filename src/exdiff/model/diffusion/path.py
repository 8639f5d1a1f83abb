"""The Gaussian path: every diffusion process of this package, from three scalar functions of time.

    x_t = a(t) x + b(t) y + sigma(t) z,    z ~ N(0, I),    x clean, y the anchor, t in [t_min, t_max]

A process is one subclass that gives a, b, sigma and their derivatives; drift, diffusion, marginal, samples and prior
are derived here once (Särkkä and Solin 2019, Chapter 6: mean and variance of a linear SDE). Derivatives are of the
*variance*, because sigma' is infinite wherever sigma is zero and (sigma^2)' is not. Not here: what a network predicts
(`prediction.py`) and the reverse process (`exdiff.model.samplers`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.noise import Generators, normal_like

FLOOR_A = 1e-4  # below this x_t contains nothing of x: dividing by a would only amplify rounding
FLOOR_SIGMA = 1e-5  # below this x_t contains no noise that float32 could resolve


class Coefficients(NamedTuple):
    """a, b and sigma, each in the shape of the given times."""

    a: Tensor
    b: Tensor
    sigma: Tensor


class Derivatives(NamedTuple):
    """Time derivatives of a, b and of the *variance* sigma^2."""

    a: Tensor
    b: Tensor
    variance: Tensor


@dataclass(frozen=True, eq=False)
class PathSample:
    """One draw from a path, with everything a loss needs.

    Attributes:
        x_t: the noisy state, `[B, ...]`.
        z: the noise in it, unit variance, like `x_t`.
        t: its times, `[B]`.
        x: the clean signal, like `x_t`.
        y: the anchor, like `x_t`.
    """

    x_t: Tensor
    z: Tensor
    t: Tensor
    x: Tensor
    y: Tensor


def broadcast_over(value: Tensor, x: Tensor) -> Tensor:
    """A value per batch item, `[B]` or `[]`, given trailing dimensions to multiply `x`, and its device and real dtype.

    Example:
        >>> broadcast_over(torch.ones(2), torch.zeros(2, 1, 4, 4, dtype=torch.complex64)).shape
        torch.Size([2, 1, 1, 1])
    """
    value = value.reshape(value.shape + (1,) * (x.ndim - value.ndim))
    return value.to(device=x.device, dtype=x.dtype.to_real())


class GaussianPath(ABC):
    """Base of all paths; see the module's head for the idea.

    Args:
        t_min: smallest time in training.
        t_max: largest; sampling starts there.

    Raises:
        ConfigError: times that are not 0 <= t_min < t_max <= 1.
    """

    def __init__(self, t_min: float, t_max: float) -> None:
        if not 0 <= t_min < t_max <= 1:
            raise ConfigError(f"got t_min {t_min} and t_max {t_max}; a path needs 0 <= t_min < t_max <= 1")
        self.t_min = t_min
        self.t_max = t_max

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """a, b, sigma at times `t` of any shape."""

    @abstractmethod
    def derivatives(self, t: Tensor) -> Derivatives:
        """a', b' and (sigma^2)' at times `t`, in closed form: finite on all of [0, t_max]."""

    def marginal(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean `[B, ...]` and standard deviation `[B, 1, ...]` of x_t given x and y."""
        a, b, sigma = (broadcast_over(c, x) for c in self.coefficients(t))
        return a * x + b * y, sigma

    def drift(self, x_t: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """f(x_t, y, t) = (a'/a) x_t + (b' - b a'/a) y of the forward SDE; unbounded where a is zero."""
        b = broadcast_over(self.coefficients(t).b, x_t)
        return broadcast_over(self._log_rate(t), x_t) * (x_t - b * y) + broadcast_over(self.derivatives(t).b, x_t) * y

    def squared_diffusion(self, t: Tensor) -> Tensor:
        """g(t)^2 = (sigma^2)' - 2 sigma^2 a'/a of the forward SDE, in the shape of `t`; may diverge where a is zero."""
        variance = self.coefficients(t).sigma ** 2
        return (self.derivatives(t).variance - 2 * variance * self._log_rate(t)).clamp_min(0)

    def diffusion(self, t: Tensor) -> Tensor:
        """g(t) of the forward SDE, in the shape of `t`."""
        return self.squared_diffusion(t).sqrt()

    def sample(self, x: Tensor, y: Tensor, t: Tensor, generator: Generators = None) -> PathSample:
        """Draw x_t given the clean signal and the anchor.

        Args:
            x: clean signal `[B, ...]`, real or complex.
            y: anchor, like `x`.
            t: times `[B]`.
            generator: see `normal_like`.

        Example:
            >>> from exdiff.model.diffusion import OUVEPath
            >>> clean, anchor = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
            >>> OUVEPath().sample(clean, anchor, torch.tensor([0.1, 0.9])).x_t.shape
            torch.Size([2, 1, 4, 4])
        """
        mean, sigma = self.marginal(x, y, t)
        z = normal_like(mean, generator)
        return PathSample(mean + sigma * z, z, t, x, y)

    def prior(
        self, y: Tensor, generator: Generators = None, noise_scale: float = 1.0, *, t: float | None = None
    ) -> Tensor:
        """Where sampling starts: y + sigma(t) z, centred on the anchor as published for all of these paths.

        Args:
            y: anchor `[B, ...]`.
            generator: see `normal_like`; not touched where sigma is zero, as for the bridges at t = 1.
            noise_scale: multiplies the draw; 0.0 returns `y`.
            t: starting time, default t_max. A smaller one is the reduced reverse process of Lay et al. 2023.
        """
        sigma = float(self.coefficients(torch.tensor(self.t_max if t is None else t, dtype=torch.float64)).sigma)
        return y + noise_scale * sigma * normal_like(y, generator) if noise_scale * sigma > 0 else y

    def _log_rate(self, t: Tensor) -> Tensor:
        return self.derivatives(t).a / self.coefficients(t).a.clamp_min(FLOOR_A)
