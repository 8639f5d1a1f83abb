"""The two samplers of the Schrödinger bridge (Jukic et al. 2024): its SDE, for any path, and its ODE as in their code.

For a bridge *model* prefer `exponential`; `bridge_ode` reproduces published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BridgePath, GaussianPath, Generators, normal_like
from exdiff.model.diffusion.path import broadcast_over
from exdiff.model.samplers.steps import Callback, Predict, coefficients, posterior_step, walk

GUARD = 1e-8  # the constant that the released code adds to sbar^2 and to denominators


def bridge_sde(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
    arrival: bool = False,
) -> Tensor:
    """Posterior steps: x_s drawn given x_t and x = D, for any path; the last one adds no noise, as published.

    On the bridge these are the first-order SDE steps of Jukic et al. 2024: (s_s / s_t)^2 x_t +
    (1 - (s_s / s_t)^2) D + noise. On other paths they are ancestral sampling (DDPM, Ho et al. 2020). With `arrival`,
    the network gets the time at which the step ends, as in the released code; denoised kind only.

    Raises:
        ConfigError: `arrival` with a network of another kind.

    Example:
        >>> from exdiff.model.diffusion import BridgePath, Prediction
        >>> from exdiff.model.samplers import schedule
        >>> path, y = BridgePath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> bridge_sde(known, path.prior(y), schedule(path, 4, t_end=0.0), path=path)
        tensor([[0., 0., 0., 0.]])
    """
    for step in walk(path, times, x):
        prediction = predict(x, step.s if arrival else step.t)
        if arrival:
            _check_denoised("bridge_sde with arrival", prediction.kind, "leave arrival out")
        x, deviation = posterior_step(path, x, prediction.denoised, prediction.y, step.t, step.s)
        if not step.last:
            x = x + noise_scale * deviation * normal_like(x, generator)
        if callback is not None:
            callback(step.number, x, prediction)
    return x


def bridge_ode(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
) -> Tensor:
    """The released code's ODE sampler for bridges: `exponential` but for two oddities.

    (1) The network gets the time at which the step ends, not the time of its input state. (2) At t = 1, where the exact
    weights of x_t and y are infinite and cancel, a guard of 1e-8 makes them finite but leaves about 5 % of y too much
    in the first state (it decays as sigma does). Published grid: `schedule(path, 50)`.

    It draws nothing: `generator` and `noise_scale` are unused.

    Raises:
        ConfigError: a path other than `BridgePath`, or a network that is not of denoised kind.

    Example:
        >>> from exdiff.model.diffusion import BridgePath, Prediction
        >>> from exdiff.model.samplers import schedule
        >>> path, y = BridgePath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> bool(bridge_ode(known, path.prior(y), schedule(path, 50), path=path).abs().max() < 1e-3)
        True
    """
    bridge = _bridge(path)
    for step in walk(path, times, x):
        prediction = predict(x, step.s)
        _check_denoised("bridge_ode", prediction.kind, "use 'exponential'")
        of_x, of_denoised, of_y = _guarded_weights(bridge, x, step.t, step.s)
        x = of_x * x + of_denoised * prediction.denoised + of_y * prediction.y
        if callback is not None:
            callback(step.number, x, prediction)
    return x


def check_bridge(sampler: object, path: GaussianPath, kind: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError if it is a sampler of this file that fits not the path, or not the kind of network."""
    if sampler is bridge_ode:
        _bridge(path)
        _check_denoised("bridge_ode", kind, "use 'exponential'")
    if sampler is bridge_sde and options.get("arrival"):
        _check_denoised("bridge_sde with arrival", kind, "leave arrival out")


def _bridge(path: GaussianPath) -> BridgePath:
    # Its late times and its guard belong to models that were trained by that code. With others, of `brownian` say, the
    # result is worse than by `exponential`, at one step worse than the input.
    if not isinstance(path, BridgePath):
        raise ConfigError(f"bridge_ode is for the path 'bridge' alone, got {type(path).__name__}; use 'exponential'")
    return path


def _check_denoised(sampler: str, kind: str, remedy: str) -> None:
    if kind != "denoised":
        raise ConfigError(f"{sampler} is for models with the output 'denoised', got {kind!r}; {remedy}")


def _guarded_weights(path: BridgePath, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, ...]:
    """The weights of x_t, D and y in their step, from s = sqrt(total b) and sbar = sqrt(total a), guarded."""
    guard = path.guard or GUARD
    far, far_bar, _ = _guarded_deviations(path, x, t)
    near, near_bar, end = _guarded_deviations(path, x, s)
    # At t = 1 the weights of x_t and y are thousands that cancel: even the rounding of a quotient is audible.
    scale = 1 / (end + guard)
    of_x = near * near_bar / (far * far_bar + guard)
    of_denoised = scale * (near_bar**2 - far_bar * near * near_bar / (far + guard))
    of_y = scale * (near**2 - far * near * near_bar / (far_bar + guard))
    return of_x, of_denoised, of_y


def _guarded_deviations(path: BridgePath, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s, sbar and the square of s_T."""
    if path.guard:
        s, s_bar, s_end = path.deviations(t)
        return broadcast_over(s, x), broadcast_over(s_bar, x), broadcast_over(s_end, x) ** 2
    total = path.total_variance
    a, b, _ = coefficients(path, t, x)
    return torch.sqrt(total * b), torch.sqrt(total * a + GUARD), torch.full_like(a, total)
