"""Samplers: plain functions that walk a Gaussian path from the anchor to clean audio.

All have the form `sampler(predict, x, times, *, path, generator, callback, noise_scale, **options)`; their docstrings
describe only their own options. They hold no state and do not switch gradients off.

    predict      the model, `(x_t, t [B]) -> Prediction`
    x            the state at times[0], `[B, ...]`, real or complex: usually `path.prior(y)`
    times        decreasing, `[N + 1]`; see `schedule`
    path         the process
    generator    source of the noise; see `normal_like`
    callback     called after each step with (step, new state, the step's prediction)
    noise_scale  multiplies every draw of noise
    returns      the state at times[-1], like `x`
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError
from exdiff.model.samplers.bridge import bridge_ode, bridge_sde, check_bridge
from exdiff.model.samplers.euler_maruyama import euler_maruyama
from exdiff.model.samplers.exponential import exponential
from exdiff.model.samplers.heun import heun
from exdiff.model.samplers.predictor_corrector import predictor_corrector
from exdiff.model.samplers.schedule import schedule
from exdiff.model.samplers.steps import Callback, Predict

Sampler = Callable[..., Tensor]

SAMPLERS: dict[str, Sampler] = {
    "predictor_corrector": predictor_corrector,
    "euler_maruyama": euler_maruyama,
    "heun": heun,
    "exponential": exponential,
    "bridge_sde": bridge_sde,
    "bridge_ode": bridge_ode,
}


def evaluations(name: str, steps: int, *, corrector_steps: int = 1) -> int:
    """Number of network evaluations of a sampler on a grid of `steps` steps.

    Args:
        name: a key of SAMPLERS.
        steps: N of the grid.
        corrector_steps: the predictor-corrector's option of that name.

    Raises:
        ConfigError: no such sampler.

    Example:
        >>> evaluations("predictor_corrector", 30), evaluations("heun", 4), evaluations("exponential", 4)
        (60, 7, 4)
    """
    if name not in SAMPLERS:
        raise ConfigError(f"unknown sampler {name!r}{nearest(name, SAMPLERS)}")
    if name == "predictor_corrector":
        return steps * (1 + corrector_steps)
    return 2 * steps - 1 if name == "heun" else steps


__all__ = [
    "SAMPLERS",
    "Callback",
    "Predict",
    "Sampler",
    "bridge_ode",
    "bridge_sde",
    "check_bridge",
    "euler_maruyama",
    "evaluations",
    "exponential",
    "heun",
    "predictor_corrector",
    "schedule",
]
