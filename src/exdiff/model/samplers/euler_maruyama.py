"""Euler-Maruyama on the reverse SDE, and on everything between it and the probability-flow ODE."""

from __future__ import annotations

from torch import Tensor

from exdiff.model.diffusion import GaussianPath, Generators, normal_like
from exdiff.model.samplers.steps import Callback, Predict, reverse_step, walk


def euler_maruyama(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
    stochasticity: float = 1.0,
) -> Tensor:
    """First-order steps of dx = (f - (1 + e^2) / 2 g^2 score) dt + e g dw; the last one adds no noise.

    `stochasticity` is e: 1 gives the reverse SDE, 0 the probability-flow ODE. `noise_scale` leaves the drift as it is.

    Beware of `stochasticity=0` (plain Euler on the ODE) with bridges: sigma'/sigma is infinite at both ends, and the
    result is wrong whatever the number of steps. `exponential` is exact there.

    Example:
        >>> import torch
        >>> from exdiff.model.diffusion import FlowPath, Prediction
        >>> from exdiff.model.samplers import schedule
        >>> path, y = FlowPath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> times = schedule(path, 8, t_end=0.0)
        >>> bool(euler_maruyama(known, path.prior(y), times, path=path, stochasticity=0).abs().max() < 1e-5)
        True
    """
    for step in walk(path, times, x):
        prediction = predict(x, step.t)
        x, deviation = reverse_step(path, x, prediction, step, stochasticity)
        if not step.last and stochasticity > 0:
            x = x + noise_scale * deviation * normal_like(x, generator)
        if callback is not None:
            callback(step.number, x, prediction)
    return x
