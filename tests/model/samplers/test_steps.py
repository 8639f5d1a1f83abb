from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import PATHS, Prediction
from exdiff.model.samplers.steps import Step, exponential_step, posterior_step, reverse_step, walk

T, S = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
by_path = pytest.mark.parametrize("name", PATHS)


def draw(path, t, count=20000):
    x, y = (torch.full((1, count), v, dtype=torch.float64) for v in (0.7, -0.4))
    return path.sample(x, y, t, torch.Generator().manual_seed(0))


@by_path
def test_exponential_step_keeps_the_noise_of_a_known_signal(name):
    path = PATHS[name]()
    sample = draw(path, T)
    mean, sigma = path.marginal(sample.x, sample.y, S)
    torch.testing.assert_close(exponential_step(path, sample.x_t, sample.x, sample.y, T, S), mean + sigma * sample.z)


@by_path
def test_posterior_step_lands_on_the_marginal_of_a_known_signal(name):
    path = PATHS[name]()
    sample = draw(path, T)
    mean, deviation = posterior_step(path, sample.x_t, sample.x, sample.y, T, S)
    target, sigma = path.marginal(sample.x, sample.y, S)
    assert float(mean.mean()) == pytest.approx(float(target[0, 0]), abs=0.01)
    assert float((mean.var() + deviation**2).sqrt()) == pytest.approx(float(sigma), rel=0.02)


@by_path
def test_small_posterior_step_is_the_reverse_sde(name):
    path = PATHS[name]()
    sample, near = draw(path, T, 100), T - 1e-5
    prediction = Prediction(sample.x, "denoised", path, sample.x_t, sample.y, T)
    mean, deviation = posterior_step(path, sample.x_t, sample.x, sample.y, T, near)
    euler, spread = reverse_step(path, sample.x_t, prediction, Step(0, T, near, last=False, singular=False))
    torch.testing.assert_close(mean - sample.x_t, euler - sample.x_t, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(deviation, spread, rtol=1e-3, atol=0)


@by_path
def test_every_step_ends_in_the_denoised_estimate_at_zero(name):
    path = PATHS[name]()
    sample, zero = draw(path, T, 10), torch.zeros_like(T)
    assert torch.equal(exponential_step(path, sample.x_t, sample.x, sample.y, T, zero), sample.x)
    mean, deviation = posterior_step(path, sample.x_t, sample.x, sample.y, T, zero)
    assert torch.equal(mean, sample.x) and not deviation.any()


@pytest.mark.parametrize("name", ["bridge", "brownian", "flow"])
def test_finite_and_right_at_the_singular_end(name):
    path = PATHS[name]()
    sample = draw(path, torch.ones_like(T), 10)
    target, sigma = path.marginal(sample.x, sample.y, S)
    prediction = Prediction(sample.x, "denoised", path, sample.x_t, sample.y, torch.ones_like(T))
    (step,) = walk(path, torch.tensor([1.0, 0.4], dtype=torch.float64), sample.x_t)
    assert step.singular
    for mean, deviation in (
        posterior_step(path, sample.x_t, sample.x, sample.y, torch.ones_like(T), S),
        reverse_step(path, sample.x_t, prediction, step),
    ):
        torch.testing.assert_close(mean, target)
        torch.testing.assert_close(deviation, sigma)


def test_walk_gives_times_per_item_in_the_real_dtype():
    x = torch.zeros(3, 1, 2, dtype=torch.complex64)
    steps = list(walk(PATHS["flow"](), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64), x))
    assert [(i, t[0].item(), s[0].item(), last) for i, t, s, last, _ in steps] == [
        (0, 1, 0.5, False),
        (1, 0.5, 0, True),
    ]
    assert all(step.t.shape == (3,) and step.t.dtype == torch.float32 for step in steps)


@pytest.mark.parametrize(
    "name, expected",
    [("ouve", [False] * 3), ("bbed", [False] * 3), ("flow", [True, False, False])]
    + [(name, [True, False, True]) for name in ("bridge", "brownian")],
)
def test_singular_where_a_or_sigma_is_zero(name, expected):
    path = PATHS[name]()
    times = torch.tensor([path.t_max, 0.5, 1e-12 if name in ("bridge", "brownian") else 0.1, 0.0], dtype=torch.float64)
    assert [step.singular for step in walk(path, times, torch.zeros(2, 3))] == expected


@pytest.mark.parametrize("times", [[1.0], [0.5, 0.5], [0.1, 0.9], [[1.0, 0.0]]])
def test_times_that_do_not_decrease(times):
    with pytest.raises(ConfigError, match="decreasing"):
        list(walk(PATHS["ouve"](), torch.tensor(times), torch.zeros(1)))
