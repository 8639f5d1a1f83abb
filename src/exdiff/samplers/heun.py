"""Heun's method on the probability-flow ODE, in the coordinates where the ODE is tame."""

from __future__ import annotations

from torch import Tensor

from exdiff.diffusion import GaussianPath, Generators
from exdiff.samplers.steps import Callback, Predict, exponential_step, walk


def heun(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
) -> Tensor:
    """Second order: an exponential step, and the same step again with the mean of D at both of its ends.

    In u = x / sigma the ODE reads du = D d(a / sigma) + y d(b / sigma): linear but for D, whose integral Heun's
    trapezoid takes to second order, as Karras et al. 2022 (Algorithm 1) do for a = 1, b = 0. In t itself the slope is
    infinite at the ends of bridges, and the textbook version needs hundreds of steps there. The last step stays first
    order (D is not worth evaluating at the end), which leaves the order of the whole unchanged: 2 N - 1 evaluations.

    Args:
        predict: the model, `(x_t, t [B]) -> Prediction`.
        x: the state at `times[0]`, `path.prior(y)`.
        times: see `schedule`.
        path: the process.
        generator: unused, this sampler draws nothing.
        callback: called once a step with (step, new state, the step's first prediction).
        noise_scale: unused, as above.

    Returns:
        The state at the last time, like `x`.

    Example:
        >>> import torch
        >>> from exdiff.diffusion import FlowPath, Prediction
        >>> from exdiff.samplers import schedule
        >>> path, y = FlowPath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> heun(known, path.prior(y), schedule(path, 3, t_end=0.0), path=path)
        tensor([[0., 0., 0., 0.]])
    """
    for step, t, s, last in walk(times, x):
        prediction = predict(x, t)
        denoised = prediction.denoised
        arrived = exponential_step(path, x, denoised, prediction.y, t, s)
        if not last:
            denoised = (denoised + predict(arrived, s).denoised) / 2
            arrived = exponential_step(path, x, denoised, prediction.y, t, s)
        x = arrived
        if callback is not None:
            callback(step, x, prediction)
    return x
