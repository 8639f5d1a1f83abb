from __future__ import annotations

import math

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BridgePath

TIMES = torch.linspace(0.01, 0.99, 12, dtype=torch.float64)


@pytest.mark.parametrize("k, c", [(2.6, 0.4), (1.2, 0.01), (8.0, 1.0)])
def test_published_marginal(k, c):
    """Table 1 and Eq. (11) of Jukic et al. 2024, written as printed."""
    squared = c * (k ** (2 * TIMES) - 1) / (2 * math.log(k))
    total = c * (k**2 - 1) / (2 * math.log(k))
    a, b, sigma = BridgePath(k, c).coefficients(TIMES)
    torch.testing.assert_close(a, (total - squared) / total)
    torch.testing.assert_close(b, squared / total)
    torch.testing.assert_close(sigma, torch.sqrt(squared * (total - squared) / total))


@pytest.mark.parametrize("k, c", [(2.6, 0.4), (1.2, 0.01)])
def test_squared_diffusion_is_the_reference_process(k, c):
    torch.testing.assert_close(BridgePath(k, c).squared_diffusion(TIMES), c * k ** (2 * TIMES))


def test_c_scales_only_the_noise():
    small, large = BridgePath(c=0.1).coefficients(TIMES), BridgePath(c=0.9).coefficients(TIMES)
    assert torch.equal(small.a, large.a) and torch.equal(small.b, large.b)
    torch.testing.assert_close(large.sigma, 3 * small.sigma)


def test_published_defaults():
    path = BridgePath()
    assert (path.k, path.c, path.t_min, path.t_max) == (2.6, 0.4, 1e-4, 1.0)
    # The released code's std at 0.03 and 0.7575, float32.
    torch.testing.assert_close(
        path.coefficients(torch.tensor([0.03, 0.7575])).sigma, torch.tensor([0.110562824, 0.544386148])
    )
    a, b, sigma = path.coefficients(torch.tensor(1.0))
    assert (float(a), float(b), float(sigma)) == (0, 1, 0)


def test_the_guard_shows_at_the_tied_end_only():
    plain, guarded = BridgePath(), BridgePath(guard=1e-8)
    for got, expected in zip(guarded.coefficients(TIMES), plain.coefficients(TIMES), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    # The released code's std at 1, float32.
    assert float(guarded.coefficients(torch.tensor(1.0)).sigma) == pytest.approx(1e-4, rel=1e-4)
    y = torch.randn(2, 3)
    assert guarded.prior(y) is y
    assert not torch.equal(guarded.prior(y, t=0.9), y)


def test_a_negative_guard():
    with pytest.raises(ConfigError, match="got guard -1"):
        BridgePath(guard=-1)


@pytest.mark.parametrize("options", [{"k": 1.0}, {"c": 0.0}])
def test_impossible_constants(options):
    with pytest.raises(ConfigError, match="k > 1 and c > 0"):
        BridgePath(**options)
