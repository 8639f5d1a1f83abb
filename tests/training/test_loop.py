"""The training loop: it learns, says what it does, survives a bad batch, and resumes to the bit."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from exdiff.checkpoints.checkpoint import load_model
from exdiff.core.errors import CheckpointError, ConfigError, DivergenceError
from exdiff.core.recipe import Recipe
from exdiff.inference.enhancer import Enhancer
from exdiff.training import Options, loop, train
from exdiff.training.objective import Objective
from exdiff.training.schedule import due, learning_rate


def test_the_debug_recipe_trains_as_it_is(tmp_path, lines, log):
    plain = Recipe.load("debug", ["training.steps=10"])
    state = train(plain, tmp_path)
    assert state.step == 10
    assert [line["step"] for line in lines(tmp_path)] == [5, 10]
    for line in lines(tmp_path):
        for key in ("loss", "extractor", "diffusion", "learning_rate", "audio_per_second", "grad_norm"):
            assert line[key] > 0, key
        assert 0 <= line["waiting"] <= 1
    (scores,) = (line["validation"] for line in log(tmp_path) if "validation" in line)
    assert scores["mixture_si_sdr"] < scores["mixture_si_sar"], "noise is what the mixtures suffer from"
    assert scores["si_sdr"] != scores["mixture_si_sdr"], "the model did something"
    model, stored = load_model(tmp_path / "model")
    assert stored == plain
    for key, value in state.ema.module.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


def test_the_loss_falls(tmp_path, recipe, lines):
    train(recipe("training.steps=30", "training.learning_rate=0.01"), tmp_path)
    losses = [line["loss"] for line in lines(tmp_path)]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.parametrize("options", ["muon", "adamw", "adversary"])
def test_resuming_is_exact_to_the_bit(tmp_path, monkeypatch, options, recipe, lines, same):
    changes = ["training.adversary=true"] if options == "adversary" else [f"training.optimiser={options}"]
    plan = recipe("training.steps=6", *changes)
    train(plan, tmp_path / "whole")

    class PowerCut(Exception):
        pass

    step, done = loop.train_step, []

    def three_steps(*arguments):
        if len(done) == 3:
            raise PowerCut
        done.append(1)
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", three_steps)
    with pytest.raises(PowerCut):
        train(recipe("training.steps=6", "training.save_minutes=0", *changes), tmp_path / "cut")
    monkeypatch.setattr(loop, "train_step", step)
    torch.manual_seed(99)  # nothing may hang on the global generator
    train(plan, tmp_path / "cut", resume=True)
    same(tmp_path / "whole", tmp_path / "cut")
    assert lines(tmp_path / "cut")[-1]["loss"] == lines(tmp_path / "whole")[-1]["loss"]


def test_a_run_of_an_earlier_version_is_resumed(tmp_path, recipe):
    plan = recipe("training.steps=4", "training.adversary=true")
    train(recipe("training.steps=2", "training.adversary=true"), tmp_path / "old")
    state = torch.load(tmp_path / "old" / "state.pt", weights_only=True)
    weights = state["adversary"]["weights"]
    state["adversary"]["weights"] = {f"discriminators.{name}": value for name, value in weights.items()}
    torch.save(state, tmp_path / "old" / "state.pt")
    assert train(plan, tmp_path / "old", resume=True).step == 4


def test_workers_do_not_change_the_examples(tmp_path, recipe):
    alone = train(recipe("training.steps=2"), tmp_path / "alone")
    helped = train(recipe("training.steps=2", "training.workers=1"), tmp_path / "helped")
    for a, b in zip(alone.model.parameters(), helped.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path, monkeypatch, recipe, lines):
    call, seen = Objective.__call__, []

    def sometimes(self, *arguments):
        losses = call(self, *arguments)
        seen.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return {k: v * torch.nan for k, v in losses.items()} if len(seen) == 3 else losses

    monkeypatch.setattr(Objective, "__call__", sometimes)
    state = train(recipe("training.steps=4", "training.log_every=4"), tmp_path)
    changed = [any(not torch.equal(a[k], b[k]) for k in a) for a, b in pairwise(seen)]
    assert changed == [True, True, False]
    assert all(v.isfinite().all() for v in state.ema.module.state_dict().values())
    (line,) = lines(tmp_path)
    assert line["skipped"] == 1
    assert line["loss"] > 0


def test_a_frozen_extractor_stays_as_it_was(tmp_path, recipe):
    train(recipe("training.steps=2", "backbone={}", "fusion={}", "path={}"), tmp_path / "one")
    first, _ = load_model(tmp_path / "one" / "model")
    init = f"training.init={tmp_path / 'one' / 'model'}"
    state = train(recipe("training.steps=3", "objective.joint=false", init), tmp_path / "two")
    for model in (state.model, state.ema.module):
        for key, value in first.extractor.state_dict().items():
            assert torch.equal(model.extractor.state_dict()[key], value), key
    assert all(p.any() for p in state.model.fusion.parameters()), "what carries the latents has learned"


def test_of_several_models_to_start_from_the_last_has_the_last_word(tmp_path, recipe):
    train(recipe("training.steps=1", "backbone={}", "fusion={}", "path={}", "training.seed=1"), tmp_path / "extractor")
    train(recipe("training.steps=1", "training.seed=2"), tmp_path / "whole")
    whole, extractor = (str(tmp_path / name / "model") for name in ("whole", "extractor"))
    init = f"training.init=[{whole}, {extractor}]"
    state = train(recipe("training.steps=1", "training.learning_rate=1e-12", init), tmp_path / "both")
    started = state.model.state_dict()
    for name, source in (("extractor", extractor), ("backbone", whole)):
        weights = load_model(source)[0].state_dict()
        for key in (k for k in started if k.startswith(f"{name}.")):
            torch.testing.assert_close(started[key], weights[key], rtol=0, atol=1e-6)


def test_bf16_trains_too(tmp_path, recipe, lines):
    changes = ["training.precision=bf16", "training.adversary=true", "training.segment_seconds=0.5"]
    state = train(recipe("training.steps=2", *changes), tmp_path)
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in state.model.parameters())
    assert lines(tmp_path)[-1]["loss"] > 0
    assert lines(tmp_path)[-1]["adversary"] > 0


def test_max_minutes_ends_a_run_that_can_go_on(tmp_path, recipe):
    assert train(recipe("training.steps=2"), tmp_path, max_minutes=0).step == 0
    assert train(recipe("training.steps=2"), tmp_path, resume=True).step == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sampler.type=bridge_ode", "bridge_ode is for the path 'bridge' alone, got OUVEPath"),
        ("sampler.noise_scale=none", "sampler: noise_scale must be a number, got 'none'"),
        ("sampler.t_end=1.5", "got times from 1.0 to 1.5"),
        ("stage=extracter", "unknown stage 'extracter'; did you mean 'extractor'"),
        ("model.output=velocity training.adversary=true", "training.adversary judges the denoised estimates"),
        ("stage=extractor training.adversary=true", "training.adversary judges the denoised estimates"),
        ("extractor= fusion=", "objective: joint=true trains the extractor too, and this model has none"),
        ("extractor= objective.joint=false", "fusion: 'add' has no effect without an extractor"),
        ("backbone= fusion.type=ad", "fusion: unknown type 'ad'; did you mean 'add'"),
        ("training.segment_seconds=0.004", "segment_seconds must be at least 0.00788"),
        ("sample_rate=-8000", "sample_rate must be more than 0, got -8000"),
        ("backbone.channels=[8,-1]", "backbone: compact: channels must be a list of one or more numbers"),
        ("extractor.blocks=-2", "extractor: compact: blocks must be at least 0, got -2"),
        ("extractor.type=resunet30 extractor.channels=[]", "resunet30: channels must be a list of one or more numbers"),
        ("extractor.type=spleeter extractor.channels=[0]", "spleeter: channels must be a list of one or more numbers"),
        ("extractor.type=causal extractor.folding=0", "causal: folding must be at least 1, got 0"),
        ("fusion.type=gated fusion.embedding=0", "fusion: gated: embedding must be at least 1, got 0"),
        ("fusion.type=cross_attention fusion.heads=-4", "fusion: cross_attention: heads must be at least 1, got -4"),
        ("model.frames_multiple=-1", "frames_multiple must be at least 1, got -1"),
        ("sampler.snr=0.5", "sampler: unknown key 'snr'"),
        ("model.output=nois", "unknown output 'nois'"),
        ("data.channels=two", "data: synthetic: channels must be a whole number"),
        ("fusion.type=filmm", "fusion: unknown type 'filmm'; did you mean 'film'"),
        ("extractor.type=compakt", "extractor: unknown type 'compakt'"),
        ("backbone.hiden=4", "backbone: compact: unknown key 'hiden'"),
    ],
)
def test_a_run_that_is_refused_leaves_no_folder(tmp_path, recipe, change, message):
    with pytest.raises(ConfigError, match=message):
        train(recipe("training.steps=1", *change.split(" ")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [ZeroDivisionError, ConfigError])
def test_an_error_in_validation_costs_no_step(tmp_path, monkeypatch, recipe, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(loop, "validate", fails)
    with pytest.raises(error):
        train(recipe("training.steps=9", "training.validate_steps=3", "training.save_minutes=99"), tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3


@pytest.mark.parametrize(("diverging", "expected"), [([1], True), (range(1, 9), False)])
def test_in_validation_a_file_whose_sampler_diverges_has_no_score(
    tmp_path, monkeypatch, recipe, log, diverging, expected
):
    call, seen = Enhancer.__call__, []

    def sometimes(self, *arguments):
        seen.append(1)
        if len(seen) in diverging:
            raise DivergenceError
        return call(self, *arguments)

    monkeypatch.setattr(Enhancer, "__call__", sometimes)
    train(recipe("training.steps=1", "training.validate_examples=8"), tmp_path)
    (scores,) = (line["validation"] for line in log(tmp_path) if "validation" in line)
    assert ("si_sdr" in scores, "mixture_si_sdr" in scores) == (expected, True)


def test_stage_extractor_trains_the_extractor_alone(tmp_path, recipe):
    state = train(recipe("training.steps=1", "stage=extractor"), tmp_path)
    model, stored = load_model(tmp_path / "model")
    for part in (state.model, model):
        assert part.backbone is None and part.path is None and part.fusion is None
    assert (stored.backbone, stored.sampler, stored.stage) == ({}, {}, "extractor")
    start = f"training.init={tmp_path / 'model'}"
    train(recipe("training.steps=1", "training.learning_rate=1e-12", start), tmp_path / "whole")
    for key, value in load_model(tmp_path / "whole" / "model")[0].extractor.state_dict().items():
        torch.testing.assert_close(value, model.extractor.state_dict()[key], rtol=0, atol=1e-6)


def test_a_run_without_validation_examples_says_so(tmp_path, recipe):
    said = []
    train(recipe("training.steps=1", "training.validate_examples=0"), tmp_path, report=said.append)
    assert said == ["step 1: no validation example"]


def test_a_run_is_not_overwritten(tmp_path, recipe):
    train(recipe("training.steps=1"), tmp_path)
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"):
        train(recipe("training.steps=1"), tmp_path)


@pytest.mark.parametrize("change", ["backbone.hidden=4", "training.optimiser=muon", "training.adversary=true"])
def test_a_state_of_another_recipe_is_a_clear_error(tmp_path, change, recipe):
    train(recipe("training.steps=1"), tmp_path)
    with pytest.raises(CheckpointError, match=r"state.pt does not fit the recipe .* the recipe that began the run"):
        train(recipe("training.steps=2", change), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.stesp=3", "training: unknown key 'stesp'; did you mean 'steps'"),
        ("training.optimiser=adma", "unknown optimiser 'adma'; did you mean 'adamw'"),
        ("training.precision=fp8", "unknown precision 'fp8'"),
        ("data.type=synthetik", "unknown type 'synthetik'; did you mean 'synthetic'"),
    ],
)
def test_a_bad_recipe_is_a_config_error(tmp_path, override, message, recipe):
    with pytest.raises(ConfigError, match=message):
        train(recipe(override), tmp_path)


def test_the_rate_warms_up_holds_and_falls():
    options = Options(steps=1000, warmup=10, decay_share=0.3, learning_rate=1.0)
    assert learning_rate(options, 0, 0, None) == pytest.approx(0.1)
    assert learning_rate(options, 9, 0, None) == learning_rate(options, 700, 0, None) == 1.0
    assert learning_rate(options, 850, 0, None) == pytest.approx(0.5)
    assert learning_rate(options, 999, 0, None) == pytest.approx(0.01)
    timed = Options(steps=1000, warmup=0, decay_minutes=10, learning_rate=1.0)
    assert learning_rate(timed, 0, 49, 60) == 1.0
    assert learning_rate(timed, 0, 55, 60) == pytest.approx(0.5)
    assert learning_rate(timed, 0, 61, 60) == pytest.approx(0.01)


def test_what_is_due():
    assert [step for step in range(1, 10) if due(step, 3, 0.0, 1.0)] == [3, 6, 9]
    assert not due(3, 0, 60.0, 1.0)
    assert due(1, 0, 60.1, 1.0)


def test_the_debug_recipe_saves_at_least_five_times_on_the_way():
    options = Options.of(Recipe.load("debug").training)
    assert len(range(options.save_steps, options.steps, options.save_steps)) >= 5
