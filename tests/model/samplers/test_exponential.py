from __future__ import annotations

import pytest
import torch

from exdiff.model.diffusion import PATHS, BridgePath, FlowPath, Prediction
from exdiff.model.samplers import exponential, schedule


@pytest.mark.parametrize("name", PATHS)
def test_first_order(problem, name):
    exact = problem(PATHS[name]())
    errors = []
    for steps in (20, 40, 80):
        times = schedule(exact.path, steps, power=2.0, t_start=0.95, t_end=0.03)
        x = exact.start(times[0], 20)
        out = exponential(exact.predict, x, times, path=exact.path)
        errors.append((out - exact.solve(x, times[0], times[-1])).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("name", PATHS)
def test_exact_in_one_step_while_the_estimate_is_held(name):
    """Any number of steps with a constant D gives what one gives."""
    path = PATHS[name]()
    x, y, clean = torch.randn(3, 2, 4, dtype=torch.float64)
    one, many = (
        exponential(
            lambda state, t: Prediction(clean, "denoised", path, state, y, t),
            x,
            schedule(path, steps, t_start=0.9, t_end=0.1),
            path=path,
        )
        for steps in (1, 9)
    )
    torch.testing.assert_close(one, many)


def test_bridge_step_equals_the_published_one():
    """The weights of x_t, D and y in Jukic et al. 2024, with s^2 = c (k^2t - 1) / (2 log k), written as printed."""
    path, y = BridgePath(), torch.randn(1, 4, dtype=torch.float64)
    times = torch.tensor([0.8, 0.3], dtype=torch.float64)
    near, far = (0.4 * (2.6 ** (2 * t) - 1) / (2 * torch.log(torch.tensor(2.6))) for t in (times[1], times[0]))
    total = path.total_variance
    s, s_far, bar, bar_far = near**0.5, far**0.5, (total - near) ** 0.5, (total - far) ** 0.5
    x, clean = torch.randn(2, 1, 4, dtype=torch.float64)
    expected = (
        s * bar / (s_far * bar_far) * x
        + (bar**2 - bar_far * s * bar / s_far) / total * clean
        + (s**2 - s_far * s * bar / bar_far) / total * y
    )
    out = exponential(lambda state, t: Prediction(clean, "denoised", path, state, y, t), x, times, path=path)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_flow_step_is_euler_on_its_velocity():
    """On straight lines with sigma ~ t the exponential step and plain Euler are one."""
    path, times = FlowPath(), torch.tensor([0.9, 0.35], dtype=torch.float64)
    x, y, velocity = torch.randn(3, 1, 4, dtype=torch.float64)
    out = exponential(lambda state, t: Prediction(velocity, "velocity", path, state, y, t), x, times, path=path)
    torch.testing.assert_close(out, x + (0.35 - 0.9) * velocity)
