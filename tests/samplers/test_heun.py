from __future__ import annotations

import pytest
import torch

from exdiff.diffusion import PATHS
from exdiff.samplers import exponential, heun, schedule


@pytest.mark.parametrize("name", PATHS)
def test_second_order(problem, name):
    exact = problem(PATHS[name]())
    errors = []
    for steps in (40, 80, 160):
        times = schedule(exact.path, steps, power=2.0, t_start=0.95, t_end=0.03)
        x = exact.start(times[0], 20)
        out = heun(exact.predict, x, times, path=exact.path)
        errors.append((out - exact.solve(x, times[0], times[-1])).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize("name", PATHS)
def test_agrees_with_an_independent_ode_solver(problem, name):
    """torchdiffeq's adaptive Runge-Kutta on dx/dt = velocity, which shares no code with the exponential step."""
    odeint = pytest.importorskip("torchdiffeq").odeint
    exact = problem(PATHS[name]())
    times = schedule(exact.path, 300, power=2.0, t_start=0.95, t_end=0.03)
    x = exact.start(times[0], 10)
    ends = times[[0, -1]].double()

    def slope(t, state):
        return exact.predict(state, t.clamp_min(1e-3).expand(1)).velocity  # the solver looks beyond its last time

    oracle = odeint(slope, x, ends, rtol=1e-9, atol=1e-9)[-1]
    torch.testing.assert_close(oracle, exact.solve(x, *ends), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(heun(exact.predict, x, times, path=exact.path), oracle, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PATHS)
def test_one_step_is_the_exponential_one(problem, name):
    exact = problem(PATHS[name]())
    times, x = schedule(exact.path, 1), torch.randn(2, 4)
    one = heun(exact.predict, x, times, path=exact.path)
    assert torch.equal(one, exponential(exact.predict, x, times, path=exact.path))
