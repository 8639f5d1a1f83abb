"""The exponential sampler: the probability-flow ODE solved exactly between evaluations; the deterministic default."""

from __future__ import annotations

from torch import Tensor

from exdiff.diffusion import GaussianPath, Generators
from exdiff.samplers.steps import Callback, Predict, exponential_step, walk


def exponential(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
) -> Tensor:
    """One exact step per evaluation with the denoised estimate held: DDIM (Song et al. 2021) for any Gaussian path.

    For the bridge it is the first-order ODE sampler of Jukic et al. 2024 in exact arithmetic, with the
    network asked about the state it is given; `bridge_ode` keeps their released code's two oddities. A last step to
    t = 0 returns D itself; one to t_min leaves sigma(t_min) / sigma(t) of the residual, as published for the bridge.

    Args:
        predict: the model, `(x_t, t [B]) -> Prediction`.
        x: the state at `times[0]`, `path.prior(y)`.
        times: see `schedule`.
        path: the process.
        generator: unused, this sampler draws nothing.
        callback: called once a step with (step, new state, prediction).
        noise_scale: unused, as above.

    Returns:
        The state at the last time, like `x`.

    Example:
        >>> import torch
        >>> from exdiff.diffusion import BridgePath, Prediction
        >>> from exdiff.samplers import schedule
        >>> path, y = BridgePath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> exponential(known, path.prior(y), schedule(path, 1, t_end=0.0), path=path)
        tensor([[0., 0., 0., 0.]])
    """
    for step, t, s, _ in walk(times, x):
        prediction = predict(x, t)
        x = exponential_step(path, x, prediction.denoised, prediction.y, t, s)
        if callback is not None:
            callback(step, x, prediction)
    return x
