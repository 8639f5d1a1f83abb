from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BridgePath, BrownianPath

TIMES = torch.linspace(0.01, 0.99, 11, dtype=torch.float64)


def test_written_out():
    a, b, sigma = BrownianPath(sigma=0.2).coefficients(TIMES)
    torch.testing.assert_close(a, 1 - TIMES)
    torch.testing.assert_close(b, TIMES)
    torch.testing.assert_close(sigma, 2 * 0.2 * torch.sqrt(TIMES * (1 - TIMES)))
    assert sigma.argmax() == 5 and float(sigma[5]) == pytest.approx(0.2)


def test_reference_process_is_a_brownian_motion_tied_to_the_anchor():
    path = BrownianPath(sigma=0.2)
    x, y = torch.randn(2, len(TIMES), dtype=torch.float64)
    torch.testing.assert_close(path.squared_diffusion(TIMES), torch.full_like(TIMES, 4 * 0.2**2))
    torch.testing.assert_close(path.drift(x, y, TIMES), (y - x) / (1 - TIMES))


def test_limit_of_the_schroedinger_bridge():
    limit = BridgePath(k=1 + 1e-7, c=4 * 0.15**2)
    for one, other in zip(limit.coefficients(TIMES), BrownianPath(0.15).coefficients(TIMES), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_impossible_sigma():
    with pytest.raises(ConfigError, match="sigma > 0"):
        BrownianPath(sigma=0)
