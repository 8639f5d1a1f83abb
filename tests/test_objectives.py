"""Which states the network is trained on, and what counts."""

from __future__ import annotations

import pytest
import torch

from exdiff.checkpoint import build_model
from exdiff.config import Recipe
from exdiff.samplers import exponential, schedule


def make(*overrides: str):
    torch.manual_seed(0)
    model = build_model(Recipe.load("debug", ["path={type: brownian}", *overrides]))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def pair():
    generator = torch.Generator().manual_seed(1)
    clean = 0.1 * torch.randn(2, 1, 1500, generator=generator)
    return clean, clean + 0.05 * torch.randn(2, 1, 1500, generator=generator)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_last_step_is_trained_where_the_own_sampler_arrives(steps, monkeypatch):
    model, (clean, mixture) = make(f"model.last_step={steps}"), pair()
    seen = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda x, t, condition: seen.append((x, t)) or predict(x, t, condition))
    model.loss(clean, mixture, torch.Generator())["loss"].backward()
    assert len(seen) == steps
    times = schedule(model.path, steps, t_end=0.0)
    assert [t[0].item() for _, t in seen] == times[:-1].tolist()

    from exdiff.levels import LEVELS

    condition = model.condition(mixture * LEVELS["local"](mixture, 16000))
    arrived = condition.y
    if steps > 1:
        with torch.no_grad():
            known = lambda x, t: predict(x, t, condition)  # noqa: E731
            arrived = exponential(known, condition.y, times[:-1], path=model.path)
    torch.testing.assert_close(seen[-1][0], arrived)
    assert not seen[-1][0].requires_grad  # only the last evaluation learns
    assert all(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


def test_the_last_step_measures_the_estimate_whatever_the_network_says():
    """A score network is fine-tuned by the distances too."""
    weights = "{complex: 0, magnitude: 0, si_sdr: 0, waveform: %g}"
    overrides = ["model.output=noise", "model.last_step=2", "path={type: ouve}"]
    one, three = (
        make(*overrides, f"model.weights={weights % w}").loss(*pair(), torch.Generator())["diffusion"] for w in (1, 3)
    )
    torch.testing.assert_close(three, 3 * one)


def test_total_scales_the_score_matching_too():
    one, half = (
        make("model.output=score", f"model.weights={{total: {w}}}").loss(*pair(), torch.Generator())["diffusion"]
        for w in (1.0, 0.5)
    )
    torch.testing.assert_close(half, 0.5 * one)


def test_without_the_estimate_as_input_the_latents_are_all_that_guides():
    _, mixture = pair()
    base = make("model.estimate_input=false", "model.residual=true")
    condition = base.condition(mixture)
    other = type(condition)(
        condition.y, condition.mixture, condition.estimate, 2 * condition.estimate_spectrum, condition.features
    )
    t = torch.full((2,), 0.5)
    assert torch.equal(base.predict(condition.y, t, condition).output, base.predict(condition.y, t, other).output)
    blind = type(condition)(
        condition.y,
        condition.mixture,
        condition.estimate,
        condition.estimate_spectrum,
        tuple(torch.zeros_like(f) for f in condition.features),
    )
    assert not torch.allclose(
        base.predict(condition.y, t, condition).output, base.predict(condition.y, t, blind).output
    )
