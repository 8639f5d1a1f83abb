from __future__ import annotations

from functools import partial

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import BridgePath, BrownianPath, FlowPath, Prediction
from exdiff.model.samplers import bridge_ode, bridge_sde, exponential, schedule


def known(path, clean, y):
    return lambda x, t: Prediction(clean, "denoised", path, x, y, t)


def test_sde_step_equals_the_published_one():
    """Mean (s_s / s_t)^2 x_t + (1 - (s_s / s_t)^2) D of Jukic et al. 2024, which does not even name y."""
    path = BridgePath()
    times = torch.tensor([0.8, 0.3], dtype=torch.float64)
    x, y, clean = torch.randn(3, 1, 4, dtype=torch.float64)
    ratio = torch.expm1(path.kappa * times[1]) / torch.expm1(path.kappa * times[0])
    out = bridge_sde(known(path, clean, y), x, times, path=path)
    torch.testing.assert_close(out, ratio * x + (1 - ratio) * clean)


def test_sde_noise_equals_the_published_one():
    path, count = BridgePath(), 40000
    times = torch.tensor([0.8, 0.3, 0.3 - 1e-9], dtype=torch.float64)
    x = torch.zeros(1, count, dtype=torch.float64)
    out = bridge_sde(known(path, x, x), x, times, path=path, generator=torch.Generator().manual_seed(0))
    squared = path.c * torch.expm1(path.kappa * times) / path.kappa
    expected = squared[1] * (1 - squared[1] / squared[0])
    assert out.var().item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("sampler, late", [(bridge_sde, False), (bridge_ode, True)])
def test_which_times_the_network_gets(problem, sampler, late):
    exact = problem(BridgePath())
    times = schedule(exact.path, 4)
    sampler(exact.predict, torch.zeros(1, 2), times, path=exact.path)
    assert [t for _, t in exact.calls] == times[late : 4 + late].tolist()


def test_arrival_option(problem):
    exact = problem(BridgePath())
    times = schedule(exact.path, 4)
    bridge_sde(exact.predict, torch.zeros(1, 2), times, path=exact.path, arrival=True)
    assert [t for _, t in exact.calls] == times[1:].tolist()


def test_ode_is_the_exponential_one_away_from_the_tied_end():
    path, times = BridgePath(), schedule(BridgePath(), 5, t_start=0.95)
    x, y, clean = torch.randn(3, 1, 4, dtype=torch.float64)
    predict = known(path, clean, y)
    released = bridge_ode(predict, x, times, path=path)
    torch.testing.assert_close(released, exponential(predict, x, times, path=path), rtol=1e-5, atol=1e-6)


def test_ode_leaves_the_published_excess_of_the_anchor():
    """First state from t = 1: a D + b y, and sigma (1 - 1 / s_T) y too much: what the guard's quotients give."""
    path, times = BridgePath(), torch.tensor([1.0, 0.8], dtype=torch.float64)
    y, clean = torch.randn(2, 1, 4, dtype=torch.float64)
    out = bridge_ode(known(path, clean, y), y, times, path=path)
    a, b, sigma = path.coefficients(times[1])
    excess = sigma * (1 - path.total_variance**-0.5)
    torch.testing.assert_close(out, a * clean + (b + excess) * y, rtol=1e-3, atol=2e-4)
    assert 0.04 < excess < 0.06


@pytest.mark.parametrize("path", [FlowPath(), BrownianPath()])
def test_ode_is_for_the_published_path_alone(path):
    x = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match=f"for the path 'bridge' alone, got {type(path).__name__}; use 'exponential'"):
        bridge_ode(known(path, x, x), x, schedule(path, 2), path=path)


@pytest.mark.parametrize("sampler", [bridge_ode, partial(bridge_sde, arrival=True)])
def test_times_of_arrival_are_for_networks_that_denoise(sampler):
    path, x = BridgePath(), torch.zeros(1, 2)

    def velocity(x, t):
        return Prediction(x, "velocity", path, x, x, t)

    with pytest.raises(ConfigError, match="for models with the output 'denoised', got 'velocity'"):
        sampler(velocity, x, schedule(path, 2), path=path)
