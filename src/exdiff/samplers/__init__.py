"""Samplers: plain functions that walk a Gaussian path from the anchor to clean audio.

All share `sampler(predict, x, times, *, path, generator, callback, noise_scale, **options)`, take their times from
`schedule`, and neither hold state nor switch gradients off.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from exdiff.config import nearest
from exdiff.errors import ConfigError
from exdiff.samplers.bridge import bridge_ode, bridge_sde
from exdiff.samplers.euler_maruyama import euler_maruyama
from exdiff.samplers.exponential import exponential
from exdiff.samplers.heun import heun
from exdiff.samplers.predictor_corrector import predictor_corrector
from exdiff.samplers.schedule import schedule
from exdiff.samplers.steps import Callback, Predict

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
    """How often a sampler evaluates the network on a grid of `steps` steps.

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
    "euler_maruyama",
    "evaluations",
    "exponential",
    "heun",
    "predictor_corrector",
    "schedule",
]
