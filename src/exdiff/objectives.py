"""What a score network is trained on: the states that it is shown, and the measure of what it makes of them.

denoised            a weighted sum of distances of the denoised estimate to the clean signal (losses.py)
score, noise, ...   |z - z_hat|^2, which for a score network is the published weighting sigma^2 |s - s_hat|^2
                    (Eq. (12) of Richter et al. 2023)
last_step           the states that its own sampler brings it to, after the idea of Lay et al. 2024
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exdiff.adversary import Adversary, balanced
from exdiff.diffusion import GaussianPath, Generators, PathSample, Prediction, uniform
from exdiff.losses import distance
from exdiff.samplers import exponential, schedule
from exdiff.samplers.steps import Predict


@dataclass(frozen=True)
class Objective:
    """The diffusion's training objective.

    Attributes:
        output: what the network says: "denoised", "score", "noise" or "velocity".
        weights: of the terms, see `WEIGHTS`; "total" scales every objective.
        focus: share of the training times that sit at t_max, where sampling begins.
        last_step: if set, train the last of so many evaluations of the exponential sampler, always by the distances.
        rate: of the waveforms, in Hz.

    Raises:
        ValueError: a focus beyond [0, 1] or a negative last_step.
    """

    output: str
    weights: Mapping[str, float]
    focus: float
    last_step: int
    rate: int

    def __post_init__(self) -> None:
        if not 0 <= self.focus <= 1 or self.last_step < 0:
            raise ValueError(
                f"got focus {self.focus}, last_step {self.last_step}; needs 0 <= focus <= 1, last_step >= 0"
            )

    @property
    def measures_estimate(self) -> bool:
        """Whether it is the denoised estimate that counts, and not the noise."""
        return self.output == "denoised" or self.last_step > 0

    def sample(
        self, path: GaussianPath, predict: Predict, target: Tensor, y: Tensor, generator: Generators
    ) -> PathSample:
        """States x_t between the clean `target` and the anchor `y`, both [B, C, F, N], each at a time of its own."""
        if not self.last_step:
            return path.sample(target, y, self._times(path, len(y), generator).to(y.device), generator)
        *before, last, _ = times = schedule(path, self.last_step, t_end=0.0)
        x = path.prior(y, generator)
        if before:
            with torch.no_grad():
                x = exponential(predict, x, times[:-1], path=path)
        return PathSample(x, torch.zeros_like(x), last.expand(len(y)).to(y.device), target, y)

    def _times(self, path: GaussianPath, count: int, generator: Generators) -> Tensor:
        share, chosen = uniform(2, count, generator)
        times = path.t_min + (path.t_max - path.t_min) * share
        return torch.where(chosen < self.focus, path.t_max, times)

    def of_noise(self, prediction: Prediction, sample: PathSample) -> Tensor:
        """The mean squared error of the noise."""
        return self.weights["total"] * (prediction.noise - sample.z).abs().square().mean()

    def of_estimate(
        self, wave: Tensor, spectrum: Tensor, clean: Tensor, target: Tensor, adversary: Adversary | None
    ) -> Tensor:
        """The distance of the denoised estimate, `wave` and `spectrum`, and what an adversary thinks of it."""
        loss = distance(wave, spectrum, clean, target, self.weights, self.rate)
        if adversary is None:
            return loss
        judged = adversary.judge(wave, clean)
        return loss + balanced(loss, judged, spectrum, self.weights["adversary"], adversary.average)
