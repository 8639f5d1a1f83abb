"""The samplers' building blocks: the walk over a grid of times, and single steps from t to s < t.

Every step takes the network's `Prediction` at t and is finite even where sigma or a is zero. Nothing between two
evaluations waits for the device: what depends on the times alone is decided once, before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import Coefficients, GaussianPath, Prediction
from exdiff.model.diffusion.path import FLOOR_A, FLOOR_SIGMA, broadcast_over

Predict = Callable[[Tensor, Tensor], Prediction]
Callback = Callable[[int, Tensor, Prediction], None]


class Step(NamedTuple):
    """One step of a grid.

    Attributes:
        number: counted from 0.
        t: where it starts, `[B]`, in the real dtype of the state.
        s: where it ends, likewise.
        last: whether it is the last one.
        singular: whether the reverse SDE's drift or diffusion is infinite at t: a or sigma is zero there.
    """

    number: int
    t: Tensor
    s: Tensor
    last: bool
    singular: bool


def walk(path: GaussianPath, times: Tensor, x: Tensor) -> Iterator[Step]:
    """Yield every step of a grid for states like `x`, `[B, ...]`.

    Raises:
        ConfigError: times that are not one-dimensional, decreasing and at least two.
    """
    times = times.to("cpu", x.dtype.to_real())
    if times.ndim != 1 or len(times) < 2 or not bool((times.diff() < 0).all()):
        raise ConfigError("sampler times must be at least two decreasing numbers; make them with schedule()")
    a, _, sigma = path.coefficients(times)
    singular: list[bool] = ((a < FLOOR_A) | (sigma < FLOOR_SIGMA)).tolist()
    columns = times.to(x.device, non_blocking=True)[:, None].expand(-1, x.shape[0])
    for i in range(len(times) - 1):
        yield Step(i, columns[i], columns[i + 1], i == len(times) - 2, singular[i])


def coefficients(path: GaussianPath, t: Tensor, x: Tensor) -> Coefficients:
    """a, b, sigma at `t`, ready to multiply `x`."""
    return Coefficients(*(broadcast_over(c, x) for c in path.coefficients(t)))


def exponential_step(path: GaussianPath, x: Tensor, denoised: Tensor, y: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The exact solution of the probability-flow ODE from t to s while D is held.

    Substituting u = x / sigma, the velocity's identity is u' = (a / sigma)' D + (b / sigma)' y, so

        x_s = a_s D + b_s y + (sigma_s / sigma_t) (x_t - a_t D - b_t y)

    Where sigma_t is zero the bracket is too, and only the mean remains.
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

    Where sigma_t is zero (the tied end of a bridge) the bracket vanishes; where a_t is zero (also the pure-noise end of
    a flow) the gain does. There x_s is drawn afresh around its mean.
    """
    before, after = coefficients(path, t, x), coefficients(path, s, x)
    alpha = before.a / after.a
    spread = after.sigma**2 / before.sigma.clamp_min(FLOOR_SIGMA) ** 2
    gain = torch.where(before.sigma > FLOOR_SIGMA, alpha * spread, 0.0)
    residual = x - before.a * denoised - before.b * y
    deviation = after.sigma * (1 - alpha * gain).clamp_min(0).sqrt()
    return after.a * denoised + after.b * y + gain * residual, deviation


def reverse_step(
    path: GaussianPath, x: Tensor, prediction: Prediction, step: Step, stochasticity: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of one Euler step of dx = (f - (1 + e^2) / 2 g^2 score) dt + e g dw, e the stochasticity.

    e = 1 is the reverse SDE (Anderson 1982), e = 0 the probability-flow ODE; all have the same marginals. At singular
    times, the ends of bridges and flows, the SDE's step is the posterior one: its exact counterpart.
    """
    t, s = step.t, step.s
    if stochasticity > 0 and step.singular:
        return posterior_step(path, x, prediction.denoised, prediction.y, t, s)
    dt = broadcast_over(t - s, x)
    if stochasticity == 0:
        return x - prediction.velocity * dt, torch.zeros_like(dt)
    squared = broadcast_over(path.squared_diffusion(t), x)
    slope = path.drift(x, prediction.y, t) - (1 + stochasticity**2) / 2 * squared * prediction.score
    return x - slope * dt, stochasticity * (squared * dt).sqrt()
