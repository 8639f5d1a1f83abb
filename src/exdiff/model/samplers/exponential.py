"""The exponential sampler: the probability-flow ODE solved exactly between evaluations; the deterministic default."""

from __future__ import annotations

from torch import Tensor

from exdiff.model.diffusion import GaussianPath, Generators
from exdiff.model.samplers.steps import Callback, Predict, exponential_step, walk


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

    For the bridge it is the first-order ODE sampler of Jukic et al. 2024 in exact arithmetic, and the network gets the
    time of its state; `bridge_ode` keeps the two oddities of their released code. A last step to t = 0 returns D
    itself; one to t_min leaves sigma(t_min) / sigma(t) of the residual, as published for the bridge.

    It draws nothing: `generator` and `noise_scale` are unused.

    Example:
        >>> import torch
        >>> from exdiff.model.diffusion import BridgePath, Prediction
        >>> from exdiff.model.samplers import schedule
        >>> path, y = BridgePath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> exponential(known, path.prior(y), schedule(path, 1, t_end=0.0), path=path)
        tensor([[0., 0., 0., 0.]])
    """
    for step in walk(path, times, x):
        prediction = predict(x, step.t)
        x = exponential_step(path, x, prediction.denoised, prediction.y, step.t, step.s)
        if callback is not None:
            callback(step.number, x, prediction)
    return x
