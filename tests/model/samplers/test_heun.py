from __future__ import annotations

import itertools

import pytest
import torch

from exdiff.model.diffusion import PATHS, Coefficients, Derivatives, GaussianPath
from exdiff.model.samplers import exponential, heun, schedule


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


class VarianceExploding(GaussianPath):
    """a = 1, b = 0, sigma = t: the case of Karras et al. 2022."""

    def coefficients(self, t):
        return Coefficients(torch.ones_like(t), torch.zeros_like(t), t)

    def derivatives(self, t):
        return Derivatives(torch.zeros_like(t), torch.zeros_like(t), 2 * t)


def karras(predict, x, times, path):
    """Algorithm 1 of Karras et al. 2022 without churn, in (x - b y) / a and rho = sigma / a."""
    coefficients = [Coefficients(*(float(c) for c in path.coefficients(t.double()))) for t in times]
    for i, (before, after) in enumerate(itertools.pairwise(coefficients)):
        prediction = predict(x, times[i].to(x).expand(len(x)))
        y, near, far = prediction.y, after.sigma / after.a, before.sigma / before.a
        state = (x - before.b * y) / before.a
        slope = (state - prediction.denoised) / far
        arrived = state + (near - far) * slope
        if i < len(times) - 2:
            again = predict(after.a * arrived + after.b * y, times[i + 1].to(x).expand(len(x))).denoised
            arrived = state + (near - far) * (slope + (arrived - again) / near) / 2
        x = after.a * arrived + after.b * y
    return x


def test_one_correction_is_that_of_karras_but_for_a_factor(problem):
    """Beyond the exponential step theirs is sigma_t / sigma_s times ours where a = 1 and b = 0."""
    exact = problem(VarianceExploding(0.01, 1.0))
    times = torch.tensor([0.8, 0.3, 0.3 - 1e-9], dtype=torch.float64)  # the last step, of first order, goes nowhere
    x = exact.start(times[0], 20)
    plain, ours, theirs = (
        exponential(exact.predict, x, times[:2], path=exact.path),
        heun(exact.predict, x, times, path=exact.path),
        karras(exact.predict, x, times, exact.path),
    )
    torch.testing.assert_close(theirs - plain, (0.8 / 0.3) * (ours - plain), rtol=1e-5, atol=1e-6)
    assert (ours - plain).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["ouve", "flow"])
def test_neither_it_nor_karras_is_better_on_every_grid(problem, name):
    exact = problem(PATHS[name]())
    for grid, theirs_wins in (({"power": 1.0}, True), ({"power": 2.0, "t_end": 0.03}, False)):
        times = schedule(exact.path, 8, t_start=0.95, **grid)
        x = exact.start(times[0], 20)
        goal = exact.solve(x, times[0], times[-1])
        ours = (heun(exact.predict, x, times, path=exact.path) - goal).abs().max()
        theirs = (karras(exact.predict, x, times, exact.path) - goal).abs().max()
        assert bool(theirs < ours) is theirs_wins
