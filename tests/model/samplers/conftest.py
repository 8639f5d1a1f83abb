"""A problem with a closed answer: x ~ N(mean, deviation^2) per sample, so that x_t, given y, is Gaussian at every t."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from exdiff.model.diffusion import GaussianPath, Prediction


@dataclass
class GaussianProblem:
    path: GaussianPath
    kind: str = "denoised"
    y: float = -0.4
    mean: float = 0.3
    deviation: float = 0.25
    calls: list[tuple[int, float]] = field(default_factory=list)

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of x_t given y, the answer that a sampler must give at its last time."""
        a, b, sigma = self.path.coefficients(t.double())
        return a * self.mean + b * self.y, torch.sqrt((a * self.deviation) ** 2 + sigma**2)

    def predict(self, x_t: Tensor, t: Tensor) -> Prediction:
        """The optimal denoiser E[x | x_t, y] by Bayes' rule."""
        assert t.shape == x_t.shape[:1] and t.dtype == x_t.dtype.to_real()
        self.calls.append((len(x_t), float(t[0])))
        a, b, sigma = (c.reshape((-1,) + (1,) * (x_t.ndim - 1)) for c in self.path.coefficients(t))
        gain = a * self.deviation**2 / (a**2 * self.deviation**2 + sigma**2).clamp_min(1e-20)
        denoised = self.mean + gain * (x_t - a * self.mean - b * self.y)
        y = torch.full_like(x_t, self.y)
        exact = Prediction(denoised, "denoised", self.path, x_t, y, t)
        return Prediction(getattr(exact, self.kind), self.kind, self.path, x_t, y, t)

    def start(self, t: Tensor, count: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """States `[1, count]` at time t: quantiles of the exact marginal, so that no sampling error comes in."""
        mean, deviation = self.moments(t)
        levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        return (mean + deviation * torch.special.ndtri(levels)).to(dtype)[None]

    def solve(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The exact probability-flow ODE: it keeps every state's quantile."""
        (mean_t, deviation_t), (mean_s, deviation_s) = self.moments(t), self.moments(s)
        return mean_s + deviation_s / deviation_t * (x - mean_t)


@pytest.fixture
def problem():
    return GaussianProblem


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
