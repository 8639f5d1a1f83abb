from __future__ import annotations

import pytest
import torch

from exdiff.model.diffusion import OUVEPath, Prediction
from exdiff.model.samplers import euler_maruyama, predictor_corrector, schedule


def test_two_steps_written_out_as_published():
    """OUVE and a made-up score, every formula of Richter et al. 2023 by hand, no noise."""
    path, times, snr = OUVEPath(), torch.tensor([1.0, 0.03, 0.0], dtype=torch.float64), 0.5
    x, y = torch.randn(2, 1, 5, dtype=torch.float64)

    def score(state, t):
        return torch.tanh(state - 2 * y) * (1 + t)

    expected = x
    for t, dt in ((1.0, 0.97), (0.03, 0.03)):
        growth = 10 ** (2 * t) * 2 * torch.log(torch.tensor(10.0, dtype=torch.float64)) * 0.05**2
        sigma = path.coefficients(torch.tensor(t, dtype=torch.float64)).sigma
        expected = expected + 2 * (snr * sigma) ** 2 * score(expected, t)
        expected = expected - 1.5 * (y - expected) * dt + growth * score(expected, t) * dt
    out = predictor_corrector(
        lambda state, t: Prediction(score(state, t[0]), "score", path, state, y, t),
        x,
        times,
        path=path,
        noise_scale=0.0,
        snr=snr,
    )
    torch.testing.assert_close(out, expected)


def test_without_corrector_it_is_euler_maruyama(problem):
    exact = problem(OUVEPath())
    times, x = schedule(exact.path, 6, to_zero=True), torch.randn(2, 5)
    seed = torch.Generator().manual_seed
    one = predictor_corrector(exact.predict, x, times, path=exact.path, corrector_steps=0, generator=seed(1))
    assert torch.equal(one, euler_maruyama(exact.predict, x, times, path=exact.path, generator=seed(1)))


def test_corrector_comes_first_and_at_every_time(problem):
    exact = problem(OUVEPath(t_min=0.25))
    times = schedule(exact.path, 4, to_zero=True)
    predictor_corrector(exact.predict, torch.zeros(1, 2), times, path=exact.path, corrector_steps=2)
    assert [t for _, t in exact.calls] == [t for t in times[:-1].tolist() for _ in range(3)]


def test_corrector_alone_holds_the_marginal(problem):
    """Langevin steps at one time leave the exact law of x_t where it is; the step to 1e-6 below hardly moves."""
    exact = problem(OUVEPath())
    times = torch.tensor([0.1, 0.1 - 1e-6], dtype=torch.float64)
    x = exact.start(times[0], 20000) * 1.5  # too wide: the corrector must bring it back
    out = predictor_corrector(
        exact.predict,
        x,
        times,
        path=exact.path,
        corrector_steps=300,
        snr=0.5,
        generator=torch.Generator().manual_seed(0),
    )
    mean, deviation = exact.moments(times[0])
    assert out.mean().item() == pytest.approx(float(mean), abs=0.01)
    assert out.std().item() == pytest.approx(float(deviation), rel=0.03)
