"""The contract of every path in PATHS, against independent ways to get the same quantity."""

from __future__ import annotations

import pytest
import torch

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import PATHS
from exdiff.model.diffusion.path import broadcast_over

TIMES = torch.tensor([0.05, 0.2, 0.5, 0.75, 0.9], dtype=torch.float64)
pytestmark = pytest.mark.parametrize("name", PATHS)


@pytest.fixture
def path(name):
    return PATHS[name]()


def difference(function, t, h=1e-5):
    return (function(t + h) - function(t - h)) / (2 * h)


def test_moments_by_monte_carlo(path):
    x, y, count = 0.7 - 0.2j, -0.4 + 0.5j, 20000
    for t in (path.t_min, 0.3, 0.8):
        times = torch.full((count,), t, dtype=torch.float64)
        clean, anchor = (torch.full((count, 1, 1), v, dtype=torch.complex128) for v in (x, y))
        sample = path.sample(clean, anchor, times, torch.Generator().manual_seed(0))
        a, b, sigma = (float(c) for c in path.coefficients(torch.tensor(t, dtype=torch.float64)))
        assert abs(sample.x_t.mean().item() - (a * x + b * y)) < 0.03 * sigma
        assert sample.x_t.std().item() == pytest.approx(sigma, rel=0.02)


def test_a_sample_records_how_it_was_made(path):
    x, y, t = torch.randn(3, 1, 2, 4), torch.randn(3, 1, 2, 4), torch.tensor([0.1, 0.5, 0.9])
    sample = path.sample(x, y, t, torch.Generator().manual_seed(1))
    mean, sigma = path.marginal(x, y, t)
    assert sigma.shape == (3, 1, 1, 1)
    assert torch.equal(sample.x_t, mean + sigma * sample.z)
    assert sample.x is x and sample.y is y and sample.t is t


def test_clean_at_zero_and_more_anchor_with_time(path):
    a, b, sigma = path.coefficients(torch.linspace(0, path.t_max, 50, dtype=torch.float64))
    assert (float(a[0]), float(b[0]), float(sigma[0])) == (1, 0, 0)
    assert (a.diff() < 0).all() and (b.diff() > 0).all()
    torch.testing.assert_close(a + b, torch.ones_like(a))


def test_derivatives_equal_finite_differences(path):
    rates = path.derivatives(TIMES)
    torch.testing.assert_close(rates.a, difference(lambda t: path.coefficients(t).a, TIMES), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(rates.b, difference(lambda t: path.coefficients(t).b, TIMES), rtol=1e-6, atol=1e-8)
    variance = difference(lambda t: path.coefficients(t).sigma ** 2, TIMES)
    torch.testing.assert_close(rates.variance, variance, rtol=1e-6, atol=1e-8)


def test_drift_and_diffusion_move_the_moments(path):
    """A linear SDE with Jacobian J obeys m' = f(m) and V' = 2 J V + g^2; m and V are the marginal's, J is measured."""
    x, y = torch.full_like(TIMES, 0.7), torch.full_like(TIMES, -0.4)
    mean, sigma = path.marginal(x, y, TIMES)
    slope = difference(lambda t: path.marginal(x, y, t)[0], TIMES)
    torch.testing.assert_close(path.drift(mean, y, TIMES), slope, rtol=1e-6, atol=1e-8)
    jacobian = path.drift(mean + 1, y, TIMES) - path.drift(mean, y, TIMES)
    growth = difference(lambda t: path.marginal(x, y, t)[1] ** 2, TIMES)
    squared = path.squared_diffusion(TIMES)
    torch.testing.assert_close(2 * jacobian * sigma**2 + squared, growth, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(path.diffusion(TIMES) ** 2, squared)


def test_simulated_forward_sde_arrives_at_the_marginal(path):
    count, steps, end = 20000, 200, 0.6
    generator = torch.Generator().manual_seed(0)
    y = torch.full((count,), -0.4, dtype=torch.float64)
    x = torch.full_like(y, 0.7)
    state, dt = x.clone(), end / steps
    for step in range(steps):
        t = torch.tensor((step + 0.5) * dt, dtype=torch.float64)
        noise = torch.randn(count, generator=generator, dtype=torch.float64)
        state = state + path.drift(state, y, t) * dt + path.diffusion(t) * dt**0.5 * noise
    mean, sigma = path.marginal(x, y, torch.tensor(end, dtype=torch.float64))
    assert state.mean().item() == pytest.approx(mean[0].item(), abs=0.01)
    assert state.std().item() == pytest.approx(sigma.item(), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_and_precise_at_both_ends(path, dtype):
    t = torch.tensor([0.0, 1e-4, path.t_min, path.t_max], dtype=dtype)
    for value in (*path.coefficients(t), *path.derivatives(t), path.squared_diffusion(t)):
        assert value.dtype == dtype and value.isfinite().all()
    exact = path.coefficients(t.double())
    for value, reference in zip(path.coefficients(t), exact, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("t", [None, 0.5])
def test_prior_is_centred_on_the_anchor(path, t):
    y = torch.full((4, 5000), 2.0, dtype=torch.complex64)
    generator = torch.Generator().manual_seed(0)
    sigma = float(path.coefficients(torch.tensor(t or path.t_max, dtype=torch.float64)).sigma)
    prior = path.prior(y, generator, t=t)
    assert prior.dtype == y.dtype
    assert (prior - y).abs().square().mean().sqrt().item() == pytest.approx(sigma, rel=0.03)
    half = path.prior(y, torch.Generator().manual_seed(0), 0.5, t=t)
    torch.testing.assert_close(half - y, (prior - y) / 2, rtol=1e-4, atol=1e-6)
    assert torch.equal(path.prior(y, generator, noise_scale=0.0, t=t), y)


def test_coefficients_keep_the_shape_of_time(path):
    for shape in ((), (3,), (2, 5)):
        t = torch.full(shape, 0.4)
        assert all(c.shape == shape for c in (*path.coefficients(t), *path.derivatives(t), path.diffusion(t)))


def test_expand_follows_the_signal(path):
    t = torch.tensor([0.1, 0.5], dtype=torch.float64)
    value = broadcast_over(path.coefficients(t).a, torch.zeros(2, 1, 3, dtype=torch.complex64))
    assert value.shape == (2, 1, 1) and value.dtype == torch.float32


def test_built_from_a_recipe_section_with_checked_times(name):
    assert build(PATHS, {"type": name, "t_min": 0.01}).t_min == 0.01
    for times in ({"t_min": 0.5, "t_max": 0.5}, {"t_min": -0.1}, {"t_max": 1.1}):
        with pytest.raises(ConfigError, match="t_min"):
            PATHS[name](**times)
