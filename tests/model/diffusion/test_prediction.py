from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import PATHS, PREDICTIONS, Prediction

DTYPES = [torch.float64, torch.complex128]


def draw(path, dtype, t=(0.1, 0.4, 0.7, 0.95)):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(len(t), 2, 3, dtype=dtype, generator=generator) for _ in range(2))
    return path.sample(x, y, torch.tensor(t, dtype=torch.float64), generator)


def read(kind, output, path, sample):
    return Prediction(output, kind, path, sample.x_t, sample.y, sample.t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PATHS)
def test_the_truth_in_every_kind(name, dtype):
    """With D = x the noise is z, the score -z / sigma and the velocity d x_t / dt at fixed x, y and z."""
    path = PATHS[name]()
    sample = draw(path, dtype)
    prediction = read("denoised", sample.x, path, sample)
    torch.testing.assert_close(prediction.noise, sample.z)
    sigma = path.coefficients(sample.t).sigma[:, None, None]
    torch.testing.assert_close(prediction.score, -sample.z / sigma)

    def state(t):
        mean, deviation = path.marginal(sample.x, sample.y, t)
        return mean + deviation * sample.z

    h = 1e-6
    slope = (state(sample.t + h) - state(sample.t - h)) / (2 * h)
    torch.testing.assert_close(prediction.velocity, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("name", PATHS)
def test_round_trip(name, kind, dtype):
    path = PATHS[name]()
    sample = draw(path, dtype)
    estimate = 0.3 * sample.x + 0.1  # not the truth: the conversions hold for any output
    first = read("denoised", estimate, path, sample)
    second = read(kind, getattr(first, kind), path, sample)
    for other in PREDICTIONS:
        torch.testing.assert_close(getattr(second, other), getattr(first, other), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PATHS)
def test_velocity_is_drift_minus_half_squared_diffusion_times_score(name):
    path = PATHS[name]()
    sample = draw(path, torch.float64)
    prediction = read("noise", sample.z * 0.5, path, sample)
    squared = path.squared_diffusion(sample.t)[:, None, None]
    expected = path.drift(sample.x_t, sample.y, sample.t) - squared * prediction.score / 2
    torch.testing.assert_close(prediction.velocity, expected)


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("name", PATHS)
def test_finite_at_both_ends_in_float32(name, kind):
    path = PATHS[name]()
    t = torch.tensor([0.0, path.t_max])
    x, y, output = torch.randn(3, 2, 4).unbind()
    sample = path.sample(x, y, t)
    for other in PREDICTIONS:
        assert getattr(Prediction(output, kind, path, sample.x_t, y, t), other).isfinite().all()


@pytest.mark.parametrize("name", ["bridge", "brownian"])
def test_a_bridge_velocity_at_its_tied_end_still_contains_the_clean_signal(name):
    path = PATHS[name]()
    x, y, t = torch.randn(1, 4), torch.randn(1, 4), torch.ones(1)
    velocity = Prediction(x, "denoised", path, y, y, t).velocity
    torch.testing.assert_close(Prediction(velocity, "velocity", path, y, y, t).denoised, x, rtol=1e-5, atol=1e-5)


def test_gradients_reach_the_output():
    path = PATHS["ouve"]()
    sample = draw(path, torch.float64)
    output = sample.z.clone().requires_grad_()
    read("noise", output, path, sample).denoised.sum().backward()
    assert output.grad is not None and (output.grad != 0).all()


def test_unknown_kind_names_the_nearest():
    path = PATHS["ouve"]()
    sample = draw(path, torch.float64)
    with pytest.raises(ConfigError, match="did you mean 'denoised'"):
        read("denoise", sample.x, path, sample)
