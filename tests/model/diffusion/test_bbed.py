from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BBEDPath

mpmath = pytest.importorskip("mpmath")  # comes with torch (through sympy)
TIMES = [1e-5, 1e-3, 0.03, 0.2, 0.5, 0.8, 0.99, 0.999]


def published_variance(k, theta, t):
    """Lay et al. 2023, with the exponential integral itself, in 40 digits."""
    with mpmath.workdps(40):
        k, t = mpmath.mpf(k), mpmath.mpf(t)
        kappa = 2 * mpmath.log(k)
        integrals = mpmath.ei(-kappa * (1 - t)) - mpmath.ei(-kappa)
        bracket = k ** (2 * t) - 1 + t + kappa * k**2 * integrals * (1 - t)
        return float(mpmath.mpf(theta) * (1 - t) * bracket)


@pytest.mark.parametrize("k, theta", [(2.6, 0.52), (1.1, 1.0), (10.0, 0.08)])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_variance_equals_the_published_form(k, theta, dtype, tolerance):
    times = torch.tensor(TIMES, dtype=dtype)
    variance = BBEDPath(k, theta).coefficients(times).sigma.double() ** 2
    expected = [published_variance(k, theta, t) for t in times.tolist()]
    torch.testing.assert_close(variance, torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=0)


def test_published_drift_and_diffusion():
    path, t = BBEDPath(), torch.tensor(TIMES, dtype=torch.float64)
    x, y = torch.randn(2, len(TIMES), dtype=torch.float64)
    torch.testing.assert_close(path.drift(x, y, t), (y - x) / (1 - t), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(path.squared_diffusion(t), 0.52 * 2.6 ** (2 * t))


def test_published_defaults():
    path = BBEDPath()
    assert (path.k, path.theta, path.t_max) == (2.6, 0.52, 0.999)


@pytest.mark.parametrize("options", [{"k": 1.0}, {"k": 11.0}, {"theta": 0.0}, {"t_max": 1.0}])
def test_impossible_constants(options):
    with pytest.raises(ConfigError, match="bbed"):
        BBEDPath(**options)
