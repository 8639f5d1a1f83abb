"""What counts in training: which states the network is shown, what is measured, and what learns from it."""

from __future__ import annotations

import pytest
import torch

from exdiff.checkpoints import build_model
from exdiff.checkpoints.checkpoint import load_model
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.diffusion import PATHS
from exdiff.model.samplers import exponential, schedule
from exdiff.model.transforms.levels import LEVELS
from exdiff.training.objective import Objective, build_objective
from exdiff.training.objective.distances import complex_l1, magnitude_l1, negative_si_sdr

BROWNIAN = "path={type: brownian}"
ALONE = ("backbone={}", "fusion={}", "path={}")


def make(*overrides: str, trained: bool = True) -> Objective:
    """Of the debug model with random weights: outputs that start at zero would hide everything behind them."""
    torch.manual_seed(0)
    recipe = Recipe.load("debug", overrides)
    model = build_model(recipe)
    for parameter in model.parameters() if trained else ():
        torch.nn.init.normal_(parameter, std=0.1)
    return build_objective(model, recipe.objective)


def pair(batch: int = 2, length: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean = 0.1 * torch.randn(batch, 1, length, generator=generator)
    return clean, clean + 0.05 * torch.randn(batch, 1, length, generator=generator)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_an_extractor_the_mixture_is_the_estimate():
    objective, (_, mixture) = make("extractor={}", "fusion={}", "objective.joint=false"), pair()
    condition = objective.model.condition(mixture)
    assert condition.estimate is mixture
    assert condition.features is None
    assert objective.model.predict(condition.y, torch.full((2,), 0.5), condition).denoised.shape == condition.y.shape
    assert objective(*pair(), draws()).keys() == {"loss", "diffusion"}


@pytest.mark.parametrize("output", ["denoised", "score", "noise", "velocity"])
def test_the_output_means_what_the_recipe_says(output):
    objective, (_, mixture) = make(f"model.output={output}", trained=False), pair()
    condition = objective.model.condition(mixture)
    prediction = objective.model.predict(condition.y, torch.full((2,), 0.5), condition)
    assert prediction.kind == output
    assert prediction.y is condition.y
    # A fresh backbone says zero; a denoised one then gives the estimate back.
    expected = condition.estimate_spectrum if output == "denoised" else torch.zeros_like(condition.y)
    torch.testing.assert_close(prediction.output, expected)
    assert torch.isfinite(objective(*pair(), draws())["loss"])


def test_an_extractor_alone_cannot_predict():
    objective, (clean, mixture) = make(*ALONE), pair()
    condition = objective.model.condition(mixture)
    assert condition.features is None
    with pytest.raises(ConfigError, match=r"an extractor alone.*--steps 0"):
        objective.model.predict(condition.y, torch.full((2,), 0.5), condition)
    assert objective(clean, mixture).keys() == {"loss", "extractor"}


def test_the_extractor_loss_is_the_weighted_distance():
    weights = "{complex: 2.0, magnitude: 0.5, si_sdr: 0.01, total: 3.0}"
    objective, (clean, mixture) = make(*ALONE, f"objective.extractor_weights={weights}"), pair()
    gain = LEVELS["local"](mixture, 16000)
    estimate = objective.model.extractor(mixture * gain).estimate
    a, b = objective.model.transform(estimate), objective.model.transform(clean * gain)
    distance = 2 * complex_l1(a, b) + 0.5 * magnitude_l1(a, b) + 0.01 * negative_si_sdr(estimate, clean * gain)
    torch.testing.assert_close(objective(clean, mixture)["loss"], 3 * distance)


def test_a_score_network_learns_the_noise():
    objective, (clean, mixture) = make("model.output=noise", "objective.focus=1.0", trained=False), pair()
    # A fresh backbone says zero, so the error is the power of unit noise.
    assert objective(clean, mixture, draws())["diffusion"].item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_gives_a_loss(path):
    losses = make(f"path={{type: {path}}}")(*pair(), draws())
    assert losses["loss"].isfinite()
    torch.testing.assert_close(losses["loss"], losses["extractor"] + losses["diffusion"])


def test_the_loss_is_a_function_of_the_generator():
    objective = make()
    first, same, other = (objective(*pair(), draws(s))["diffusion"] for s in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_loss_does_not_depend_on_the_level():
    objective, (clean, mixture) = make(), pair()
    loud, soft = (objective(k * clean, k * mixture, draws())["loss"] for k in (8, 1))
    torch.testing.assert_close(loud, soft, rtol=1e-3, atol=0)


@pytest.mark.parametrize("joint", ["true", "false"])
def test_the_extractor_learns_only_jointly_the_rest_always(joint):
    objective = make(f"objective.joint={joint}")
    losses = objective(*pair(), draws())
    losses["loss"].backward()
    assert ("extractor" in losses) is (joint == "true")
    for name, parameter in objective.model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached is (joint == "true" or not name.startswith("extractor.")), name


@pytest.mark.parametrize("detach", ["true", "false"])
def test_joint_means_that_the_diffusion_teaches_the_extractor(detach):
    """All of it, or, if the estimate is detached, all but the layer that makes the estimate of the latents."""
    objective = make("objective.extractor_weights={total: 0.0}", f"objective.detach={detach}")
    torch.nn.init.normal_(objective.model.backbone.outlet.weight, std=0.1)  # so that the latents count for something
    for fusion in objective.model.fusion.parameters():
        torch.nn.init.normal_(fusion, std=0.1)
    objective(*pair(), draws())["loss"].backward()
    for name, parameter in objective.model.extractor.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached is (detach == "false" or not name.startswith("outlet.")), name


@pytest.mark.parametrize("anchor", ["mixture", "estimate"])
@pytest.mark.parametrize("output", ["denoised", "score", "noise", "velocity"])
def test_a_detached_estimate_learns_nothing_of_the_diffusion(output, anchor):
    """Without a fusion there are no latents, so nothing is left, whatever is predicted from whatever anchor."""
    parts = (f"model.output={output}", f"model.anchor={anchor}", "fusion={}")
    reached = {}
    for detach in ("true", "false"):
        objective = make(*parts, f"objective.detach={detach}")
        objective(*pair(), draws())["diffusion"].backward()
        reached[detach] = any(p.grad is not None and p.grad.any() for p in objective.model.extractor.parameters())
    assert reached == {"true": False, "false": True}


@pytest.mark.parametrize(("choice", "share"), [("true", 1.0), ("0.75", 0.75)])
def test_denoised_targets_are_what_the_frozen_extractor_makes_of_the_clean_recording(choice, share):
    clean, mixture = pair()
    plain, denoising = (make("objective.joint=false", f"objective.denoise_targets={on}") for on in ("false", choice))
    gain = LEVELS["local"](clean, 16000)
    denoised = plain.model.extractor(clean * gain).estimate.detach() / gain
    assert not torch.allclose(denoised, clean)
    target = share * denoised + (1 - share) * clean
    expected = plain(target, mixture, draws())["loss"]
    torch.testing.assert_close(denoising(clean, mixture, draws())["loss"], expected)


@pytest.mark.parametrize(("focus", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_focus_is_the_share_of_times_at_the_start(focus, share):
    objective = make(f"objective.focus={focus}")
    spectra = torch.zeros(4000, 1, 1, 1, dtype=torch.complex64)
    times = objective.sample(objective.model.predict, spectra, spectra, draws()).t
    assert ((times >= objective.model.path.t_min) & (times <= objective.model.path.t_max)).all()
    assert (times == objective.model.path.t_max).float().mean().item() == pytest.approx(share, abs=0.03)
    others = times[times < objective.model.path.t_max]
    if len(others):
        assert others.mean().item() == pytest.approx(
            (objective.model.path.t_min + objective.model.path.t_max) / 2, abs=0.03
        )


def test_data_of_another_number_of_channels_is_a_clear_error():
    clean, mixture = pair()
    with pytest.raises(ConfigError, match=r"the data has 2 channel\(s\), the model expects 1; set data.channels=1"):
        make()(clean.expand(-1, 2, -1), mixture.expand(-1, 2, -1), draws())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_last_step_is_trained_where_the_own_sampler_arrives(steps, monkeypatch):
    objective, (clean, mixture) = make(BROWNIAN, f"objective.last_step={steps}"), pair()
    seen = []
    predict = objective.model.predict
    monkeypatch.setattr(
        objective.model, "predict", lambda x, t, condition: seen.append((x, t)) or predict(x, t, condition)
    )
    objective(clean, mixture, torch.Generator())["loss"].backward()
    assert len(seen) == steps
    times = schedule(objective.model.path, steps, t_end=0.0)
    assert [t[0].item() for _, t in seen] == times[:-1].tolist()

    condition = objective.model.condition(mixture * LEVELS["local"](mixture, 16000))
    arrived = condition.y
    if steps > 1:
        with torch.no_grad():
            known = lambda x, t: predict(x, t, condition)  # noqa: E731
            arrived = exponential(known, condition.y, times[:-1], path=objective.model.path)
    torch.testing.assert_close(seen[-1][0], arrived)
    assert not seen[-1][0].requires_grad  # only the last evaluation learns
    assert all(p.grad is not None and p.grad.any() for p in objective.model.backbone.parameters())


def test_the_last_step_measures_the_estimate_whatever_the_network_says():
    """A score network is fine-tuned by the distances too."""
    weights = "{complex: 0, magnitude: 0, si_sdr: 0, waveform: %g}"
    overrides = ["model.output=noise", "objective.last_step=2", "path={type: ouve}"]
    one, three = (
        make(*overrides, f"objective.weights={weights % w}")(*pair(), torch.Generator())["diffusion"] for w in (1, 3)
    )
    torch.testing.assert_close(three, 3 * one)


def test_total_scales_the_score_matching_too():
    one, half = (
        make("model.output=score", f"objective.weights={{total: {w}}}")(*pair(), torch.Generator())["diffusion"]
        for w in (1.0, 0.5)
    )
    torch.testing.assert_close(half, 0.5 * one)


def test_without_the_estimate_as_input_the_latents_are_all_that_guides():
    _, mixture = pair()
    base = make("model.estimate_input=false", "model.residual=true").model
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


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.last_step=-1", "needs 0 <= focus <= 1, last_step >= 0"),
        ("objective.focus=1.5", "needs 0 <= focus <= 1, last_step >= 0"),
        ("objective.weights={sisdr: 1}", "unknown weight 'sisdr'; did you mean 'si_sdr'"),
        ("objective.extractor_weights={compex: 1}", "unknown weight 'compex'; did you mean 'complex'"),
        ("objective.weights={complex: 0, magnitude: 0, si_sdr: 0, total: 2}", "without a distance in weights there is"),
        ("objective.jiont=true", "unknown key 'jiont'; did you mean 'joint'"),
        ("objective.denoise_targets=1.5", "denoise_targets must be a share from 0 to 1, got 1.5"),
        ("objective.denoise_targets=-0.1", "denoise_targets must be a share from 0 to 1, got -0.1"),
    ],
)
def test_a_typo_is_an_error(override, message):
    with pytest.raises(ConfigError, match=message):
        make(override)


def test_targets_are_not_cleaned_by_what_learns_from_them():
    for trained in ("objective.joint=true", "extractor={}"):
        with pytest.raises(ConfigError, match=r"denoise_targets needs an extractor that is frozen; name one with"):
            make(trained, "objective.denoise_targets=true")


@pytest.mark.parametrize("joint", ["true", "false"])
def test_another_model_can_clean_the_targets(joint):
    """It does not learn, and is no part of what is saved."""
    clean, mixture = pair()
    extractor = load_model("speech")[0].extractor
    plain = make(f"objective.joint={joint}")
    denoising = make(f"objective.joint={joint}", "objective.denoise_targets=0.75", "objective.denoiser=speech")
    assert denoising.model.state_dict().keys() == plain.model.state_dict().keys()
    gain = LEVELS["local"](clean, 16000)
    target = 0.75 * extractor(clean * gain).estimate.detach() / gain + 0.25 * clean
    losses = [objective(c, mixture, draws())["loss"] for objective, c in ((plain, target), (denoising, clean))]
    torch.testing.assert_close(losses[1], losses[0])
    losses[1].backward()
    assert all(p.grad is None for p in denoising._denoiser.parameters())


def test_a_denoiser_that_does_not_fit_is_an_error():
    with pytest.raises(
        ConfigError, match=r"denoiser 'vocals-compact' must have an extractor of 1 channel\(s\) at 16000"
    ):
        make("objective.denoise_targets=true", "objective.denoiser=vocals-compact")
    with pytest.raises(CheckpointError, match="speach"):
        make("objective.denoise_targets=true", "objective.denoiser=speach")
    with pytest.raises(ConfigError, match="denoiser=speech has no effect without a share in denoise_targets"):
        make("objective.denoiser=speech")


def test_weights_that_are_not_used_may_be_zero():
    none = "{complex: 0, magnitude: 0, si_sdr: 0}"
    make(f"objective.extractor_weights={none}")  # the extractor learns from the diffusion loss
    make(f"objective.weights={none}", "model.output=noise")
    make(f"objective.weights={none}", "stage=extractor")
    with pytest.raises(ConfigError, match="without a distance in extractor_weights there is nothing to learn from"):
        make(f"objective.extractor_weights={none}", "stage=extractor")


def test_a_frozen_extractor_stays_in_evaluation_mode():
    frozen, joint = (make(f"objective.joint={on}").model.train() for on in ("false", "true"))
    assert not frozen.extractor.training
    assert joint.extractor.training
