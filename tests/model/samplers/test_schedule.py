from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import PATHS, BridgePath, OUVEPath
from exdiff.model.samplers import schedule


@pytest.mark.parametrize("to_zero", [False, True])
@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", PATHS)
def test_steps_plus_one_decreasing_times(name, steps, power, to_zero):
    path = PATHS[name]()
    times = schedule(path, steps, power=power, to_zero=to_zero)
    assert times.shape == (steps + 1,)
    assert (times.diff() < 0).all()
    assert float(times[0]) == pytest.approx(path.t_max)
    assert float(times[-1]) == pytest.approx(0 if to_zero else path.t_min)


def test_published_grids():
    # SGMSE+: N times from T to t_eps, then a step of t_eps down to 0. Bridge: N + 1 times from 1 to 1e-4.
    torch.testing.assert_close(
        schedule(OUVEPath(), 30, to_zero=True), torch.cat([torch.linspace(1, 0.03, 30), torch.zeros(1)]), rtol=0, atol=0
    )
    torch.testing.assert_close(schedule(BridgePath(), 50), torch.linspace(1, 1e-4, 51), rtol=0, atol=0)


def test_quadratic_spacing_refines_the_end():
    times = schedule(OUVEPath(), 4, power=2.0, t_end=0.0)
    torch.testing.assert_close(times, torch.tensor([1.0, 0.5625, 0.25, 0.0625, 0.0]))


def test_a_start_and_an_end_of_ones_own():
    torch.testing.assert_close(schedule(OUVEPath(), 2, t_start=0.5, t_end=0.1), torch.tensor([0.5, 0.3, 0.1]))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"steps": 0}, "0 steps"),
        ({"power": 0.0}, "power"),
        ({"t_start": 1.2}, "t_start <= 1.0"),
        ({"t_start": 0.01}, "t_end < t_start"),
        ({"t_end": 0.0, "to_zero": True}, "t_end > 0 with to_zero"),
    ],
)
def test_impossible_grids(options, words):
    with pytest.raises(ConfigError, match=words):
        schedule(OUVEPath(), **{"steps": 3, **options})
