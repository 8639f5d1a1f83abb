from __future__ import annotations

import math

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import OUVEPath

TIMES = torch.linspace(0.01, 1, 12, dtype=torch.float64)


@pytest.mark.parametrize("theta, sigma_min, sigma_max", [(1.5, 0.05, 0.5), (2.0, 0.1, 1.0)])
def test_published_drift_and_diffusion(theta, sigma_min, sigma_max):
    path = OUVEPath(theta, sigma_min, sigma_max)
    x, y = torch.randn(2, len(TIMES), dtype=torch.float64)
    torch.testing.assert_close(path.drift(x, y, TIMES), theta * (y - x))
    ratio = sigma_max / sigma_min
    expected = sigma_min * ratio**TIMES * math.sqrt(2 * math.log(ratio))
    torch.testing.assert_close(path.diffusion(TIMES), expected)


def test_variance_is_the_integral_of_the_damped_diffusion():
    path = OUVEPath()
    for end in (0.03, 0.5, 1.0):
        u = torch.linspace(0, end, 20001, dtype=torch.float64)
        integrand = torch.exp(-2 * path.theta * (end - u)) * path.squared_diffusion(u)
        sigma = path.coefficients(torch.tensor(end, dtype=torch.float64)).sigma
        assert float(sigma**2) == pytest.approx(float(torch.trapezoid(integrand, u)), rel=1e-7)


def test_published_defaults():
    path = OUVEPath()
    assert (path.theta, path.sigma_min, path.t_min, path.t_max) == (1.5, 0.05, 0.03, 1.0)
    # The released code's std at its first and last time, float32.
    sigma = path.coefficients(torch.tensor([0.03, 1.0])).sigma
    torch.testing.assert_close(sigma, torch.tensor([0.0188301, 0.38898265]))


@pytest.mark.parametrize("options", [{"theta": 0.0}, {"sigma_min": 0.0}, {"sigma_min": 0.5}])
def test_impossible_constants(options):
    with pytest.raises(ConfigError, match="sigma_min < sigma_max"):
        OUVEPath(**options)
