"""ExDiff: extract once, diffuse from the right anchor, learn the right weights."""

from __future__ import annotations

import pytest
import torch

from exdiff.checkpoint import build_model
from exdiff.config import Recipe
from exdiff.diffusion import PATHS
from exdiff.errors import ConfigError
from exdiff.levels import LEVELS
from exdiff.losses import complex_l1, magnitude_l1, negative_si_sdr
from exdiff.model import ExDiff

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


def test_without_an_extractor_the_mixture_is_the_estimate():
    model, (_, mixture) = make("extractor={}", "fusion={}"), pair()
    condition = model.condition(mixture)
    assert condition.estimate is mixture
    assert condition.features is None
    assert model.predict(condition.y, torch.full((2,), 0.5), condition).denoised.shape == condition.y.shape
    assert model.loss(*pair(), draws()).keys() == {"loss", "diffusion"}


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


@pytest.mark.parametrize("output", ["denoised", "score", "noise", "velocity"])
def test_the_output_means_what_the_recipe_says(output):
    model, (_, mixture) = make(f"model.output={output}", trained=False), pair()
    condition = model.condition(mixture)
    prediction = model.predict(condition.y, torch.full((2,), 0.5), condition)
    assert prediction.kind == output
    assert prediction.y is condition.y
    # A fresh backbone says zero; a denoised one then gives the estimate back.
    expected = condition.estimate_spectrum if output == "denoised" else torch.zeros_like(condition.y)
    torch.testing.assert_close(prediction.output, expected)
    assert torch.isfinite(model.loss(*pair(), draws())["loss"])


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


def test_an_extractor_alone_cannot_predict():
    model, (clean, mixture) = make(*ALONE), pair()
    condition = model.condition(mixture)
    assert condition.features is None
    with pytest.raises(ConfigError, match=r"an extractor alone.*--steps 0"):
        model.predict(condition.y, torch.full((2,), 0.5), condition)
    assert model.loss(clean, mixture).keys() == {"loss", "extractor"}


def test_the_extractor_loss_is_the_weighted_distance():
    weights = "{complex: 2.0, magnitude: 0.5, si_sdr: 0.01, total: 3.0}"
    model, (clean, mixture) = make(*ALONE, f"model.extractor_weights={weights}"), pair()
    gain = LEVELS["local"](mixture, 16000)
    estimate = model.extractor(mixture * gain).estimate
    a, b = model.transform(estimate), model.transform(clean * gain)
    distance = 2 * complex_l1(a, b) + 0.5 * magnitude_l1(a, b) + 0.01 * negative_si_sdr(estimate, clean * gain)
    torch.testing.assert_close(model.loss(clean, mixture)["loss"], 3 * distance)


def test_a_score_network_learns_the_noise():
    model, (clean, mixture) = make("model.output=noise", "model.focus=1.0", trained=False), pair()
    # A fresh backbone says zero, so the error is the power of unit noise.
    assert model.loss(clean, mixture, draws())["diffusion"].item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_gives_a_loss(path):
    losses = make(f"path={{type: {path}}}").loss(*pair(), draws())
    assert losses["loss"].isfinite()
    torch.testing.assert_close(losses["loss"], losses["extractor"] + losses["diffusion"])


def test_the_loss_is_a_function_of_the_generator():
    model = make()
    first, same, other = (model.loss(*pair(), draws(s))["diffusion"] for s in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_loss_does_not_depend_on_the_level():
    model, (clean, mixture) = make(), pair()
    loud, soft = (model.loss(k * clean, k * mixture, draws())["loss"] for k in (8, 1))
    torch.testing.assert_close(loud, soft, rtol=1e-3, atol=0)


@pytest.mark.parametrize("joint", ["true", "false"])
def test_the_extractor_learns_only_jointly_the_rest_always(joint):
    model = make(f"model.joint={joint}")
    losses = model.loss(*pair(), draws())
    losses["loss"].backward()
    assert ("extractor" in losses) is (joint == "true")
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached is (joint == "true" or not name.startswith("extractor.")), name


@pytest.mark.parametrize("detach", ["true", "false"])
def test_joint_means_that_the_diffusion_teaches_the_extractor(detach):
    """All of it, or, if the estimate is detached, all but the layer that makes the estimate of the latents."""
    model = make("model.extractor_weights={total: 0.0}", f"model.detach={detach}")
    torch.nn.init.normal_(model.backbone.outlet.weight, std=0.1)  # so that the latents count for something
    for fusion in model.fusion.parameters():
        torch.nn.init.normal_(fusion, std=0.1)
    model.loss(*pair(), draws())["loss"].backward()
    for name, parameter in model.extractor.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached is (detach == "false" or not name.startswith("outlet.")), name


def test_denoised_targets_are_what_the_frozen_extractor_makes_of_the_clean_recording():
    clean, mixture = pair()
    plain, denoising = (make("model.joint=false", f"model.denoise_targets={on}") for on in ("false", "true"))
    gain = LEVELS["local"](clean, 16000)
    target = plain.extractor(clean * gain).estimate.detach() / gain
    assert not torch.allclose(target, clean)
    expected = plain.loss(target, mixture, draws())["loss"]
    torch.testing.assert_close(denoising.loss(clean, mixture, draws())["loss"], expected)


@pytest.mark.parametrize(("focus", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_focus_is_the_share_of_times_at_the_start(focus, share):
    model = make(f"model.focus={focus}")
    spectra = torch.zeros(4000, 1, 1, 1, dtype=torch.complex64)
    times = model.objective.sample(model.path, model.predict, spectra, spectra, draws()).t
    assert ((times >= model.path.t_min) & (times <= model.path.t_max)).all()
    assert (times == model.path.t_max).float().mean().item() == pytest.approx(share, abs=0.03)
    others = times[times < model.path.t_max]
    if len(others):
        assert others.mean().item() == pytest.approx((model.path.t_min + model.path.t_max) / 2, abs=0.03)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.level=locla", "unknown level 'locla'; did you mean 'local'"),
        ("model.anchor=estimat", "unknown anchor 'estimat'; did you mean 'estimate'"),
        ("model.output=nois", "unknown output 'nois'; did you mean 'noise'"),
        ("model.last_step=-1", "needs 0 <= focus <= 1, last_step >= 0"),
        ("model.weights={sisdr: 1}", "unknown weight 'sisdr'; did you mean 'si_sdr'"),
        ("model.extractor_weights={compex: 1}", "unknown weight 'compex'; did you mean 'complex'"),
        ("model.jiont=true", "unknown key 'jiont'; did you mean 'joint'"),
        ("path={}", "unknown type None"),
    ],
)
def test_a_typo_is_an_error(override, message):
    with pytest.raises(ConfigError, match=message):
        make(override)


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(ConfigError, match="anchor 'estimate' needs an extractor"):
        make("extractor={}", "fusion={}", "model.anchor=estimate")
    for trained in ("model.joint=true", "extractor={}"):  # targets must not follow what learns from them
        with pytest.raises(ConfigError, match="denoise_targets needs an extractor that is frozen"):
            make(trained, "model.denoise_targets=true")
    with pytest.raises(ConfigError, match="needs an extractor, a backbone, or both"):
        make("extractor={}", *ALONE)


def test_data_of_another_number_of_channels_is_a_clear_error():
    clean, mixture = pair()
    with pytest.raises(ConfigError, match=r"the data has 2 channel\(s\), the model hears 1; set data.channels=1"):
        make().loss(clean.expand(-1, 2, -1), mixture.expand(-1, 2, -1), draws())
