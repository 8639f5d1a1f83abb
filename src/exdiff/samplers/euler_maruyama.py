"""Euler-Maruyama on the reverse SDE, and on everything between it and the probability-flow ODE."""

from __future__ import annotations

from torch import Tensor

from exdiff.diffusion import GaussianPath, Generators, normal_like
from exdiff.samplers.steps import Callback, Predict, reverse_step, walk


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

    Beware of `stochasticity=0` (plain Euler on the ODE) with bridges: sigma'/sigma is infinite at both of their ends
    and the result is wrong however many steps are taken. `exponential` is exact there.

    Args:
        predict: the model, `(x_t, t [B]) -> Prediction`.
        x: the state at `times[0]`.
        times: see `schedule`.
        path: the process.
        generator: see `normal_like`.
        callback: called once a step with (step, new state, prediction).
        noise_scale: multiplies every draw (the drift stays that of the SDE).
        stochasticity: e; 1 is the reverse SDE, 0 the probability-flow ODE.

    Returns:
        The state at the last time, like `x`.

    Example:
        >>> import torch
        >>> from exdiff.diffusion import FlowPath, Prediction
        >>> from exdiff.samplers import schedule
        >>> path, y = FlowPath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> times = schedule(path, 8, t_end=0.0)
        >>> bool(euler_maruyama(known, path.prior(y), times, path=path, stochasticity=0).abs().max() < 1e-5)
        True
    """
    for step, t, s, last in walk(times, x):
        prediction = predict(x, t)
        x, deviation = reverse_step(path, x, prediction, t, s, stochasticity)
        if not last and stochasticity > 0:
            x = x + noise_scale * deviation * normal_like(x, generator)
        if callback is not None:
            callback(step, x, prediction)
    return x
