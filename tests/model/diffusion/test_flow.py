from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import FlowPath, Prediction


def test_velocity_of_a_known_signal_is_constant():
    path, t = FlowPath(), torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    x, y = torch.randn(2, 3, 4, dtype=torch.float64)
    sample = path.sample(x, y, t)
    velocity = Prediction(x, "denoised", path, sample.x_t, y, t).velocity
    torch.testing.assert_close(velocity, y + 0.487 * sample.z - x)


def test_velocity_network_works_from_pure_noise():
    path, t = FlowPath(), torch.ones(2)
    x, y = torch.randn(2, 2, 4)
    sample = path.sample(x, y, t)
    prediction = Prediction(y + 0.487 * sample.z - x, "velocity", path, sample.x_t, y, t)
    torch.testing.assert_close(prediction.denoised, x, rtol=1e-5, atol=1e-5)


def test_derived_diffusion():
    t = torch.linspace(0.01, 0.9, 9, dtype=torch.float64)
    torch.testing.assert_close(FlowPath(0.3).squared_diffusion(t), 2 * 0.3**2 * t / (1 - t))


def test_published_defaults_and_impossible_sigma():
    assert (FlowPath().sigma, FlowPath().t_max) == (0.487, 1.0)
    with pytest.raises(ConfigError, match="sigma > 0"):
        FlowPath(sigma=0)
