"""A network's prediction about x_t, convertible between four kinds, so that any network works with any sampler.

With the residual r = x_t - a D - b y = sigma z = -sigma^2 s, each kind gives the others:

    denoised D,    noise z,    score s = (a D + b y - x_t) / sigma^2,    velocity v = a' D + b' y + (sigma'/sigma) r

`velocity` is the right side of the probability-flow ODE dx/dt = v (Song et al. 2021, Eq. 13).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError
from exdiff.model.diffusion.path import FLOOR_A, FLOOR_SIGMA, Coefficients, Derivatives, GaussianPath, broadcast_over

PREDICTIONS = ("score", "noise", "denoised", "velocity")


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network output that can be read as score, noise, denoised or velocity.

    Every kind is finite everywhere: where sigma or a vanishes, the division is by a small floor. The output simply does
    not contain the information there (at a = 0 a noise estimate is independent of x), and samplers never need it.

    Attributes:
        output: what the network returned, `[B, ...]`.
        kind: what it means: score, noise, denoised or velocity.
        path: the process that x_t belongs to.
        x_t: the state it was computed from.
        y: the anchor.
        t: times `[B]`.

    Raises:
        ConfigError: an unknown kind.

    Example:
        >>> import torch
        >>> from exdiff.model.diffusion import FlowPath
        >>> path, x, y, t = FlowPath(), torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([0.5])
        >>> x_t = path.sample(x, y, t).x_t
        >>> score = Prediction(x, "denoised", path, x_t, y, t).score
        >>> torch.allclose(Prediction(score, "score", path, x_t, y, t).denoised, x, atol=1e-5)
        True
    """

    output: Tensor
    kind: str
    path: GaussianPath
    x_t: Tensor
    y: Tensor
    t: Tensor

    def __post_init__(self) -> None:
        if self.kind not in PREDICTIONS:
            raise ConfigError(f"unknown kind of prediction {self.kind!r}{nearest(self.kind, PREDICTIONS)}")

    @cached_property
    def denoised(self) -> Tensor:
        """D = E[x | x_t, y], like `x_t`."""
        if self.kind == "denoised":
            return self.output
        a, b, _ = self._coefficients
        anchored = self.x_t - b * self.y
        if self.kind != "velocity":
            return (anchored - self._residual) / a.clamp_min(FLOOR_A)
        # v is linear in D; its factor a' - a sigma'/sigma is negative for every path, since a / sigma decreases.
        rate = self._derivatives
        growth = self._growth
        return (self.output - rate.b * self.y - growth * anchored) / (rate.a - growth * a)

    @cached_property
    def noise(self) -> Tensor:
        """z, unit variance where the network is right."""
        if self.kind == "noise":
            return self.output
        if self.kind == "score":
            return -self._coefficients.sigma * self.output
        return self._residual / self._coefficients.sigma.clamp_min(FLOOR_SIGMA)

    @cached_property
    def score(self) -> Tensor:
        """s, the gradient of log p(x_t | y)."""
        if self.kind == "score":
            return self.output
        return -self.noise / self._coefficients.sigma.clamp_min(FLOOR_SIGMA)

    @cached_property
    def velocity(self) -> Tensor:
        """v, so that the probability-flow ODE is dx/dt = v."""
        if self.kind == "velocity":
            return self.output
        return self._derivatives.a * self.denoised + self._derivatives.b * self.y + self._growth * self._residual

    @cached_property
    def _residual(self) -> Tensor:
        a, b, sigma = self._coefficients
        if self.kind == "noise":
            return sigma * self.output
        if self.kind == "score":
            return -(sigma**2) * self.output
        return self.x_t - a * self.denoised - b * self.y

    @cached_property
    def _growth(self) -> Tensor:
        """sigma'/sigma as (sigma^2)' / (2 sigma^2): the numerator stays finite where sigma is zero."""
        return self._derivatives.variance / (2 * self._coefficients.sigma.clamp_min(FLOOR_SIGMA) ** 2)

    @cached_property
    def _coefficients(self) -> Coefficients:
        return Coefficients(*(broadcast_over(c, self.x_t) for c in self.path.coefficients(self.t)))

    @cached_property
    def _derivatives(self) -> Derivatives:
        return Derivatives(*(broadcast_over(c, self.x_t) for c in self.path.derivatives(self.t)))
