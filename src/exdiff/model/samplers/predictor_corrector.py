"""The predictor-corrector sampler (Song et al. 2021, Algorithm 1) as SGMSE+ uses it (Richter et al. 2023)."""

from __future__ import annotations

from torch import Tensor

from exdiff.model.diffusion import GaussianPath, Generators, Prediction, normal_like
from exdiff.model.diffusion.path import broadcast_over
from exdiff.model.samplers.steps import Callback, Predict, reverse_step, walk


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

    Like the published sampler, it corrects *before* it predicts and returns the last predictor's mean without noise.
    The published grid has N times from 1 to 0.03 and a last step to 0: `schedule(path, N, to_zero=True)`.

    At each time there are `corrector_steps` Langevin steps of size 2 (snr sigma)^2; none make this the plain reverse
    SDE. `callback` gets the predictor's prediction.

    Example:
        >>> import torch
        >>> from exdiff.model.diffusion import OUVEPath
        >>> from exdiff.model.samplers import schedule
        >>> path, y = OUVEPath(), torch.ones(1, 4)
        >>> known = lambda x, t: Prediction(torch.zeros(1, 4), "denoised", path, x, y, t)
        >>> times = schedule(path, 30, to_zero=True)
        >>> bool(predictor_corrector(known, path.prior(y), times, path=path).abs().max() < 0.05)
        True
    """
    for step in walk(path, times, x):
        for _ in range(corrector_steps):
            x = _langevin(predict(x, step.t), x, snr, noise_scale, generator)
        prediction = predict(x, step.t)
        x, deviation = reverse_step(path, x, prediction, step)
        if not step.last:
            x = x + noise_scale * deviation * normal_like(x, generator)
        if callback is not None:
            callback(step.number, x, prediction)
    return x


def _langevin(prediction: Prediction, x: Tensor, snr: float, noise_scale: float, generator: Generators) -> Tensor:
    """Return x + h score + sqrt(2 h) z, h = 2 (snr sigma)^2; the score is -noise / sigma, so sigma = 0 is harmless."""
    sigma = broadcast_over(prediction.path.coefficients(prediction.t).sigma, x)
    mean = x - 2 * snr**2 * sigma * prediction.noise
    return mean + noise_scale * 2 * snr * sigma * normal_like(x, generator)
