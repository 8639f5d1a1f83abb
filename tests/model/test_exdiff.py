"""ExDiff: extract once, then diffuse from the right anchor."""

from __future__ import annotations

import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.exdiff import ExDiff

ALONE = ("backbone={}", "fusion={}", "path={}")


def make(*overrides: str, trained: bool = True) -> ExDiff:
    """The debug model with random weights: outputs that start at zero would hide everything behind them."""
    torch.manual_seed(0)
    model = build_model(Recipe.load("debug", overrides))
    for parameter in model.parameters() if trained else ():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def pair(batch: int = 2, length: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean = 0.1 * torch.randn(batch, 1, length, generator=generator)
    return clean, clean + 0.05 * torch.randn(batch, 1, length, generator=generator)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counted(monkeypatch, module: torch.nn.Module) -> list[int]:
    calls = []
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda *a: (calls.append(1), forward(*a))[1])
    return calls


@pytest.mark.parametrize("anchor", ["mixture", "estimate"])
def test_condition_holds_what_guides(anchor):
    model, (_, mixture) = make(f"model.anchor={anchor}"), pair()
    condition = model.condition(mixture)
    torch.testing.assert_close(condition.mixture, model.transform(mixture))
    torch.testing.assert_close(condition.estimate, model.extractor(mixture).estimate)
    torch.testing.assert_close(condition.estimate_spectrum, model.transform(condition.estimate))
    assert not torch.allclose(condition.mixture, condition.estimate_spectrum)
    assert condition.y is (condition.mixture if anchor == "mixture" else condition.estimate_spectrum)
    sizes = model.backbone.feature_sizes(*condition.mixture.shape[-2:])
    assert [m.shape[1:] for m in condition.features] == [
        (c, *s) for c, s in zip(model.backbone.feature_channels, sizes, strict=True)
    ]


def test_extract_once_then_diffuse(monkeypatch):
    model, (_, mixture) = make(), pair()
    calls = counted(monkeypatch, model.extractor), counted(monkeypatch, model.fusion)
    condition = model.condition(mixture)
    for t in (1.0, 0.5, 0.1):
        model.predict(condition.y, torch.full((2,), t), condition)
    assert [len(c) for c in calls] == [1, 1]


@pytest.mark.parametrize("part", ["state", "time", "features", "mixture", "estimate"])
def test_everything_reaches_the_prediction(part):
    model, (_, mixture) = make("model.residual=false"), pair(1)
    c, x_t, t = model.condition(mixture), model.transform(pair(1)[0]), torch.tensor([0.5])
    before = model.predict(x_t, t, c).output
    changed = {
        "mixture": 2 * c.mixture if part == "mixture" else c.mixture,
        "estimate_spectrum": 2 * c.estimate_spectrum if part == "estimate" else c.estimate_spectrum,
        "features": tuple(m + 1 for m in c.features) if part == "features" else c.features,
    }
    other = type(c)(y=c.y, estimate=c.estimate, **changed)
    after = model.predict(2 * x_t if part == "state" else x_t, t / 2 if part == "time" else t, other).output
    assert not torch.allclose(before, after, atol=1e-5)


def test_residual_can_be_switched_off():
    model, (_, mixture) = make("model.residual=false", trained=False), pair()
    condition = model.condition(mixture)
    assert not model.predict(condition.y, torch.full((2,), 0.5), condition).denoised.any()


def test_the_batch_does_not_matter():
    model, (_, mixture) = make(), pair(3)
    t = torch.tensor([0.2, 0.5, 0.9])
    whole = model.condition(mixture)
    together = model.predict(whole.y, t, whole).denoised
    for i in range(3):
        alone = model.condition(mixture[i : i + 1])
        torch.testing.assert_close(
            model.predict(alone.y, t[i : i + 1], alone).denoised, together[i : i + 1], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.level=locla", "unknown level 'locla'; did you mean 'local'"),
        ("model.anchor=estimat", "unknown anchor 'estimat'; did you mean 'estimate'"),
        ("model.output=nois", "unknown output 'nois'; did you mean 'noise'"),
        ("model.resdual=true", "unknown key 'resdual'; did you mean 'residual'"),
        ("path={}", "unknown type None"),
    ],
)
def test_a_typo_is_an_error(override, message):
    with pytest.raises(ConfigError, match=message):
        make(override)


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(ConfigError, match="anchor 'estimate' needs an extractor"):
        make("extractor={}", "fusion={}", "model.anchor=estimate")
    with pytest.raises(ConfigError, match="needs an extractor, a backbone, or both"):
        make("extractor={}", *ALONE)
