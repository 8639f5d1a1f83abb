"""The contract of every sampler in SAMPLERS, on every path it can walk."""

from __future__ import annotations

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import PATHS, PREDICTIONS, Prediction
from exdiff.model.samplers import SAMPLERS, evaluations, schedule

DETERMINISTIC = ("exponential", "heun", "bridge_ode")
TIED = ("bridge", "brownian")  # their deviation is zero at t = 1, where no ODE can know which sample to become
PAIRS = [(s, p) for s in SAMPLERS for p in PATHS if s != "bridge_ode" or p == "bridge"]
on_every_pair = pytest.mark.parametrize("name, path_name", PAIRS)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@on_every_pair
def test_recovers_the_exact_gaussian(problem, name, path_name):
    """From the exact law of x_t at the first time to the exact mean and deviation at the last."""
    exact = problem(PATHS[path_name]())
    steps = 300 if name == "bridge_ode" else 150  # its late time makes it first order with a larger constant
    start = min(exact.path.t_max, 0.98) if path_name in (*TIED, "bbed") else 1.0
    times = schedule(exact.path, steps, power=2.0, t_start=start)
    x = exact.start(times[0], 200 if name in DETERMINISTIC else 6000)
    out = SAMPLERS[name](exact.predict, x, times, path=exact.path, generator=torch.Generator().manual_seed(1))
    mean, deviation = (float(v) for v in exact.moments(times[-1]))
    assert out.mean().item() == pytest.approx(mean, abs=0.01)
    # The corrector's fixed step size inflates the deviation a little (Langevin without rejection).
    tolerance = 0.06 if name == "predictor_corrector" else 0.03
    assert out.std().item() == pytest.approx(deviation, rel=tolerance)


@pytest.mark.parametrize("steps", [1, 2, 5])
@on_every_pair
def test_counted_evaluations_equal_the_declared(problem, name, path_name, steps):
    exact = problem(PATHS[path_name]())
    out = SAMPLERS[name](exact.predict, torch.zeros(2, 3), schedule(exact.path, steps), path=exact.path)
    assert len(exact.calls) == evaluations(name, steps)
    assert out.isfinite().all()


@pytest.mark.parametrize("grid", [{}, {"to_zero": True}, {"t_end": 0.0}])
@on_every_pair
def test_a_known_signal_is_found_from_the_prior(name, path_name, grid):
    """With D = x at every state, a grid to zero ends in x and one to t_min in x_t_min, whatever y was."""
    path = PATHS[path_name]()
    clean, y = torch.randn(2, 2, 1, 4, 3, dtype=torch.complex64)
    # Euler's steps and the guard of bridge_ode need a fine grid; the exact steps are exact on any.
    rough = name in ("predictor_corrector", "euler_maruyama", "bridge_ode")
    for steps in (100,) if rough else (1, 3):
        times = schedule(path, steps, **grid)
        out = SAMPLERS[name](lambda x, t: Prediction(clean, "denoised", path, x, y, t), path.prior(y), times, path=path)
        assert out.dtype == torch.complex64
        mean, sigma = path.marginal(clean, y, times[-1])
        noise = 4 * sigma if times[-1] > 0 else 0
        assert (out - mean).abs().max() <= (0.1 if rough else 1e-5) + noise


@on_every_pair
def test_same_seed_same_result(problem, name, path_name):
    exact = problem(PATHS[path_name]())
    times, x = schedule(exact.path, 3), torch.zeros(2, 4, dtype=torch.complex64)

    def run(seed):
        return SAMPLERS[name](exact.predict, x, times, path=exact.path, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(run(1), run(1))
    assert torch.equal(run(1), run(2)) == (name in DETERMINISTIC)


@on_every_pair
def test_an_item_does_not_depend_on_its_batch(problem, name, path_name):
    exact = problem(PATHS[path_name]())
    times, x = schedule(exact.path, 3), torch.randn(3, 4)
    run = SAMPLERS[name]
    batch = run(exact.predict, x, times, path=exact.path, generator=generators(5, 6, 7))
    alone = run(exact.predict, x[1:2], times, path=exact.path, generator=generators(6))
    torch.testing.assert_close(batch[1:2], alone, rtol=1e-6, atol=1e-7)


@on_every_pair
def test_no_noise_no_randomness(problem, name, path_name):
    exact = problem(PATHS[path_name]())
    times, x = schedule(exact.path, 3), torch.randn(2, 4)
    first, second = (
        SAMPLERS[name](exact.predict, x, times, path=exact.path, generator=generator, noise_scale=0.0)
        for generator in (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    )
    assert torch.equal(first, second)


@on_every_pair
def test_callback_sees_every_step(problem, name, path_name):
    exact, seen = problem(PATHS[path_name]()), []
    out = SAMPLERS[name](
        exact.predict,
        torch.zeros(1, 4),
        schedule(exact.path, 3),
        path=exact.path,
        callback=lambda step, x, prediction: seen.append((step, x, prediction)),
    )
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert torch.equal(seen[-1][1], out)
    assert all(isinstance(prediction, Prediction) for _, _, prediction in seen)


@pytest.mark.parametrize("kind", [k for k in PREDICTIONS if k != "denoised"])
@pytest.mark.parametrize("name, path_name", [pair for pair in PAIRS if pair[0] != "bridge_ode"])
def test_any_kind_of_network_drives_any_sampler(problem, name, path_name, kind):
    """All but bridge_ode, whose network gets another time than that of its state: denoised kind only."""
    path = PATHS[path_name]()
    times = schedule(path, 5, t_start=0.9)
    x = problem(path).start(times[0], 20)
    results = [
        SAMPLERS[name](problem(path, k).predict, x, times, path=path, generator=torch.Generator().manual_seed(0))
        for k in ("denoised", kind)
    ]
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-6)


@on_every_pair
def test_gradients_flow_through(problem, name, path_name):
    exact = problem(PATHS[path_name]())
    x = torch.zeros(1, 2, requires_grad=True)
    SAMPLERS[name](exact.predict, x, schedule(exact.path, 2, t_start=0.9), path=exact.path).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()


@on_every_pair
def test_no_step_waits_for_the_device(problem, name, path_name, monkeypatch):
    """From the first evaluation on nothing turns a tensor into a Python number, which would stall a GPU every step."""
    path = PATHS[path_name]()
    times, y = schedule(path, 3), torch.zeros(2, 4)
    conversions = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__")

    def predict(x, t):
        for method in conversions:
            monkeypatch.setattr(torch.Tensor, method, stalled)
        return Prediction(0.5 * x, "denoised", path, x, y, t)

    def stalled(*_):
        raise AssertionError("a step waits for the device")

    seeds, prior = generators(1, 2), path.prior(y, generators(3, 4))
    SAMPLERS[name](predict, prior, times, path=path, generator=seeds)
    with pytest.raises(AssertionError, match="waits for the device"):
        bool(torch.ones(1))
    monkeypatch.undo()


def test_corrector_steps_are_declared():
    assert [evaluations("predictor_corrector", 4, corrector_steps=n) for n in (0, 1, 2)] == [4, 8, 12]


def test_unknown_sampler_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'heun'"):
        evaluations("huen", 3)
