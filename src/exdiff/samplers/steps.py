"""Single steps from t to s < t that the samplers are made of, and the walk over a grid of times.

Every step takes what the network says at t as a `Prediction` and is finite also where sigma or a are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from exdiff.diffusion import Coefficients, GaussianPath, Prediction
from exdiff.diffusion.path import FLOOR_A, FLOOR_SIGMA, expand
from exdiff.errors import ConfigError

Predict = Callable[[Tensor, Tensor], Prediction]
Callback = Callable[[int, Tensor, Prediction], None]


def walk(times: Tensor, x: Tensor) -> Iterator[tuple[int, Tensor, Tensor, bool]]:
    """Yield (step, t `[B]`, s `[B]`, is it the last) for every step of a grid, in the real dtype of `x`.

    Raises:
        ConfigError: times that are not one-dimensional, decreasing and at least two.
    """
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
        raise ConfigError("sampler times must be at least two decreasing numbers; make them with schedule()")
    columns = times.to(x.dtype.to_real()).to(x.device)[:, None].expand(-1, x.shape[0])
    for step in range(len(times) - 1):
        yield step, columns[step], columns[step + 1], step == len(times) - 2


def coefficients(path: GaussianPath, t: Tensor, x: Tensor) -> Coefficients:
    """a, b, sigma at `t`, ready to multiply `x`."""
    return Coefficients(*(expand(c, x) for c in path.coefficients(t)))


def exponential_step(path: GaussianPath, x: Tensor, denoised: Tensor, y: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The exact solution of the probability-flow ODE from t to s while D is held.

    Substituting u = x / sigma, the velocity's identity is u' = (a / sigma)' D + (b / sigma)' y, so

        x_s = a_s D + b_s y + (sigma_s / sigma_t) (x_t - a_t D - b_t y)

    where sigma_t is zero the bracket is too, and only the mean remains.
    """
    before, after = coefficients(path, t, x), coefficients(path, s, x)
    residual = x - before.a * denoised - before.b * y
    ratio = torch.where(before.sigma > FLOOR_SIGMA, after.sigma / before.sigma.clamp_min(FLOOR_SIGMA), 0.0)
    return after.a * denoised + after.b * y + ratio * residual


def posterior_step(
    path: GaussianPath, x: Tensor, denoised: Tensor, y: Tensor, t: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of x_s given x_t and x = D: the ancestral step of any Gaussian path.

    The path is Markov: x_t given x_s has the factor alpha = a_t / a_s and the variance sigma_t^2 - alpha^2 sigma_s^2,
    and Bayes' rule gives, with gain = alpha sigma_s^2 / sigma_t^2,

        mean = a_s D + b_s y + gain (x_t - a_t D - b_t y),    variance = sigma_s^2 (1 - alpha gain)

    Where sigma_t is zero the bracket vanishes, where a_t is zero the gain does: both are the tied end of a bridge or
    the pure-noise end of a flow, and x_s is drawn afresh around its mean.
    """
    before, after = coefficients(path, t, x), coefficients(path, s, x)
    alpha = before.a / after.a
    spread = after.sigma**2 / before.sigma.clamp_min(FLOOR_SIGMA) ** 2
    gain = torch.where(before.sigma > FLOOR_SIGMA, alpha * spread, 0.0)
    residual = x - before.a * denoised - before.b * y
    deviation = after.sigma * (1 - alpha * gain).clamp_min(0).sqrt()
    return after.a * denoised + after.b * y + gain * residual, deviation


def reverse_step(
    path: GaussianPath, x: Tensor, prediction: Prediction, t: Tensor, s: Tensor, stochasticity: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of one Euler step of dx = (f - (1 + e^2) / 2 g^2 score) dt + e g dw, e the stochasticity.

    e = 1 is the reverse SDE (Anderson 1982), e = 0 the probability-flow ODE; all have the same marginals. At times
    where f and g are infinite, the ends of bridges and flows, an SDE step is the posterior one: its exact counterpart.
    """
    a, _, sigma = path.coefficients(t)
    if stochasticity > 0 and bool(((a < FLOOR_A) | (sigma < FLOOR_SIGMA)).any()):
        return posterior_step(path, x, prediction.denoised, prediction.y, t, s)
    dt = expand(t - s, x)
    if stochasticity == 0:
        return x - prediction.velocity * dt, torch.zeros_like(dt)
    squared = expand(path.squared_diffusion(t), x)
    slope = path.drift(x, prediction.y, t) - (1 + stochasticity**2) / 2 * squared * prediction.score
    return x - slope * dt, stochasticity * (squared * dt).sqrt()
