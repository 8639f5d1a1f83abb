"""Fusions inside of the whole: features are computed once, what depends on time each evaluation, all of it learns."""

from __future__ import annotations

import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.recipe import Recipe
from exdiff.model.fusion import FUSIONS
from exdiff.training.objective import Objective

NAMES = [name for name in FUSIONS if name != "none"]


def make(name: str):
    """The debug model; the outlet, which starts at zero, lets something through."""
    torch.manual_seed(0)
    model = build_model(Recipe.load("debug", [f"fusion={{type: {name}}}", "model.residual=false"]))
    torch.nn.init.normal_(model.backbone.outlet.weight, std=0.1)
    return model


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_features_once_and_combined_in_every_evaluation(name, monkeypatch):
    model = make(name)
    for parameter in model.fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    calls: dict[str, list] = {"forward": [], "combine": []}
    for method, log in calls.items():
        original = getattr(type(model.fusion), method)

        def spy(self, *args, original=original, log=log, **options):
            log.append((args, options))
            return original(self, *args, **options)

        monkeypatch.setattr(type(model.fusion), method, spy)
    condition = model.condition(noise(2, 1, 1000))
    for t in (0.9, 0.1):
        model.predict(condition.y, torch.full((2,), t), condition)
    assert len(calls["forward"]) == 1
    levels = [(a[0], k["time"][0].item()) for a, k in calls["combine"]]
    assert levels == [(j, pytest.approx(t)) for t in (0.9, 0.1) for j in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_neutral_then_learns_and_then_matters(name):
    model, plain = make(name), make("none")
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("fusion.")})
    mixture, t = noise(2, 1, 1000), torch.full((2,), 0.5)

    def output(one) -> torch.Tensor:
        condition = one.condition(mixture)
        return one.predict(condition.y, t, condition).output

    torch.testing.assert_close(output(model), output(plain))
    torch.nn.init.normal_(model.backbone.body.encoder[0][0].conv2.weight, std=0.1)
    Objective(model)(0.5 * mixture, mixture)["loss"].backward()
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("fusion.")})
    assert not torch.allclose(output(model), output(plain), atol=1e-6)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_result_stays_float32_under_autocast(name):
    model = make(name)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)

    @torch.no_grad()
    def run() -> tuple[torch.Tensor, torch.Tensor]:
        condition = model.condition(noise(2, 1, 1000))
        return condition.estimate, model.predict(condition.y, torch.full((2,), 0.5), condition).denoised

    with torch.autocast("cpu", torch.bfloat16):
        found = run()
    assert [x.dtype for x in found] == [torch.float32, torch.complex64]
    for x, expected in zip(found, run(), strict=True):
        error = (x - expected).abs().square().mean() / expected.abs().square().mean()
        assert 10 * torch.log10(error) < -35
