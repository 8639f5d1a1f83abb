"""The predictor-corrector sampler (Song et al. 2021, Algorithm 1) as SGMSE+ uses it (Richter et al. 2023)."""

from __future__ import annotations

from torch import Tensor

from exdiff.diffusion import GaussianPath, Generators, Prediction, normal_like
from exdiff.diffusion.path import expand
from exdiff.samplers.steps import Callback, Predict, reverse_step, walk


def predictor_corrector(
    predict: Predict,
    x: Tensor,
    times: Tensor,
    *,
    path: GaussianPath,
    generator: Generators = None,
    callback: Callback | None = None,
    noise_scale: float = 1.0,
    snr: float = 0.5,
    corrector_steps: int = 1,
) -> Tensor:
    """Annealed Langevin corrector at every time, then a reverse-diffusion predictor to the next.

    The published sampler has N times from 1 to 0.03 and a last step to 0, `schedule(path, N, to_zero=True)`, corrects
    *before* it predicts, and returns the last predictor's mean without its noise; so does this one.

    Args:
        predict: the model, `(x_t, t [B]) -> Prediction`.
        x: the state at `times[0]`, usually `path.prior(y)`.
        times: see `schedule`.
        path: the process.
        generator: see `normal_like`.
        callback: called once a step with (step, new state, the predictor's prediction).
        noise_scale: multiplies every draw.
        snr: size of the Langevin step, 2 (snr sigma)^2.
        corrector_steps: Langevin steps per time; 0 makes this the plain reverse SDE.

    Returns:
        The state at the last time, like `x`.

    Example:
        >>> import torch
        >>> from exdiff.diffusion import OUVEPath
        >>> from exdiff.samplers import schedule
        >>> path, y = OUVEPath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> times = schedule(path, 30, to_zero=True)
        >>> bool(predictor_corrector(known, path.prior(y), times, path=path).abs().max() < 0.05)
        True
    """
    for step, t, s, last in walk(times, x):
        for _ in range(corrector_steps):
            x = _langevin(predict(x, t), path, x, t, snr, noise_scale, generator)
        prediction = predict(x, t)
        x, deviation = reverse_step(path, x, prediction, t, s)
        if not last:
            x = x + noise_scale * deviation * normal_like(x, generator)
        if callback is not None:
            callback(step, x, prediction)
    return x


def _langevin(
    prediction: Prediction,
    path: GaussianPath,
    x: Tensor,
    t: Tensor,
    snr: float,
    noise_scale: float,
    generator: Generators,
) -> Tensor:
    """Return x + h score + sqrt(2 h) z, h = 2 (snr sigma)^2, with -noise / sigma as score: sigma = 0 is harmless."""
    sigma = expand(path.coefficients(t).sigma, x)
    mean = x - 2 * snr**2 * sigma * prediction.noise
    return mean + noise_scale * 2 * snr * sigma * normal_like(x, generator)
