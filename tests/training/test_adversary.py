"""The adversary: it learns to tell, teaches only the generator while judging, and is balanced as published."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.training import Options, loop, train
from exdiff.training.adversary import Adversary, AdversaryOptions
from exdiff.training.objective.gradients import balanced


def noise(seed: int, length: int = 2000) -> torch.Tensor:
    return 0.1 * torch.randn(2, 1, length, generator=torch.Generator().manual_seed(seed))


def test_judging_teaches_the_generator_and_not_the_judge():
    torch.manual_seed(0)
    adversary, made = Adversary(), noise(0).requires_grad_()
    adversary.generator_loss(made, noise(1)).backward()
    assert made.grad is not None
    assert made.grad.any()
    assert made.grad.isfinite().all()
    assert all(p.grad is None and p.requires_grad for p in adversary.parameters())


FORMS = {
    "as before": AdversaryOptions(),
    "conditional": AdversaryOptions(conditional=True),
    "periods": AdversaryOptions(resolutions=(), periods=(2, 3)),
    "all": AdversaryOptions(conditional=True, resolutions=(128,), periods=(5,)),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_silence_is_judged_too(form, channels):
    torch.manual_seed(0)
    adversary, made = Adversary(FORMS[form]), torch.zeros(1, channels, 2000, requires_grad=True)
    real, seen = torch.zeros(1, channels, 2000), [torch.zeros(1, channels, 2000)] * 2
    adversary.generator_loss(made, real, seen).backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    assert adversary.step().isfinite()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_gradient_has_the_asked_share_of_the_main_one(scale):
    at = torch.randn(7, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    main, other = 3 * at.abs().sum(), scale * (at.real - 2).square().sum()
    (wanted,) = torch.autograd.grad(main, at, retain_graph=True)
    loss = balanced(main, other, at, 0.3)
    assert loss == main
    got = torch.autograd.grad(loss, at)[0] - wanted
    assert (got.abs().square().sum() / wanted.abs().square().sum()).sqrt().item() == pytest.approx(0.3, rel=1e-3)


def test_progress_goes_on_to_the_bit():
    torch.manual_seed(0)
    first, second = Adversary(), Adversary()

    def step(adversary: Adversary, seed: int) -> torch.Tensor:
        adversary.generator_loss(noise(seed), noise(seed + 50))
        return adversary.step()

    step(first, 0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # as a file would
    for seed in (1, 2):
        assert torch.equal(step(first, seed), step(second, seed))


def test_a_state_of_an_earlier_version_is_read():
    """The names of its weights began with the module's attribute."""
    torch.manual_seed(0)
    first, second = Adversary(), Adversary()
    first.generator_loss(noise(0), noise(1))
    first.step()
    state = copy.deepcopy(first.state_dict())
    state["weights"] = {f"discriminators.{name}": value for name, value in state["weights"].items()}
    second.load_state_dict(state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    first.generator_loss(noise(2), noise(3))
    second.generator_loss(noise(2), noise(3))
    assert torch.equal(first.step(), second.step())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_learns_to_tell(form):
    torch.manual_seed(0)
    adversary, losses = Adversary(FORMS[form]), []
    for step in range(12):
        adversary.generator_loss(0.01 * noise(100 + step), noise(step), [noise(200 + step), noise(300 + step)])
        losses.append(adversary.step().item())
    assert losses[-1] < 0.8 * losses[0]


def test_what_is_seen_counts_only_if_the_judgement_is_conditional():
    for conditional in (True, False):
        torch.manual_seed(0)
        adversary = Adversary(AdversaryOptions(conditional=conditional, periods=(3,)))
        first, second = (
            adversary.generator_loss(noise(0), noise(1), [noise(seed), noise(seed + 1)]) for seed in (2, 4)
        )
        assert torch.equal(first, second) is not conditional


def test_a_pair_that_is_not_finite_teaches_nothing():
    torch.manual_seed(0)
    adversary = Adversary()
    adversary.generator_loss(noise(0), noise(1))
    adversary.step()
    before = copy.deepcopy(adversary.discriminators.state_dict())
    for pair, finite in ((torch.nan * noise(0), None), (noise(0), torch.tensor(False))):
        adversary.generator_loss(pair, noise(1))
        adversary.step(finite)
        for key, value in adversary.discriminators.state_dict().items():
            assert torch.equal(value, before[key]), key


def test_a_state_of_torchs_adamw_is_gone_on_with():
    torch.manual_seed(0)
    first, second = Adversary(), Adversary()
    old = torch.optim.AdamW(first.parameters(), lr=5e-4, betas=(0.5, 0.9), weight_decay=0.01)
    for number, parameter in enumerate(first.parameters()):
        parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
    old.step()
    state = copy.deepcopy({"weights": first.discriminators.state_dict(), "optimiser": old.state_dict()})
    second.load_state_dict(state)
    for each in (first, second):
        for number, parameter in enumerate(each.parameters()):
            parameter.grad = torch.full_like(parameter, -0.2 * (number + 1))
    old.step()
    second.optimiser.step()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


TABLES = ["{learning_rate: 2.0e-3}", "{conditional: true}", "{resolutions: [64, 512]}", "{periods: [2, 3, 5]}", "{}"]


@pytest.mark.parametrize("table", TABLES)
def test_every_option_trains(tmp_path, recipe, lines, table):
    state = train(recipe("training.steps=2", f"training.adversary={table}"), tmp_path)
    assert state.adversary is not None
    assert lines(tmp_path)[-1]["adversary"] > 0
    assert all(p.isfinite().all() for p in (*state.model.parameters(), *state.adversary.parameters()))


@pytest.mark.parametrize("start", [2, 0.5])
def test_until_its_start_the_model_learns_nothing_from_it_but_it_learns(tmp_path, recipe, monkeypatch, start):
    step, models, judges = loop.train_step, {}, []

    def noted(state, *arguments):
        losses = step(state, *arguments)
        models.setdefault(state.step, []).append([p.detach().clone() for p in state.model.parameters()])
        if state.adversary is not None:
            judges.append(torch.cat([p.detach().flatten() for p in state.adversary.parameters()]))
        return losses

    monkeypatch.setattr(loop, "train_step", noted)
    for number, change in enumerate(("false", f"{{start: {start}}}")):
        train(recipe("training.steps=4", f"training.adversary={change}"), tmp_path / str(number))
    same = [all(torch.equal(a, b) for a, b in zip(*models[n], strict=True)) for n in (1, 2, 3)]
    assert same == [True, True, False]
    assert all(not torch.equal(a, b) for a, b in pairwise(judges))


def test_the_start_is_a_step_or_a_share_of_the_run():
    for start, steps, first in ((0, 100, 0), (0.25, 100, 25), (1, 100, 1), (40, 100, 40)):
        assert Adversary(AdversaryOptions(start=start), steps).first_step == first


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lerning_rate": 1}, "training.adversary: unknown key 'lerning_rate'; did you mean 'learning_rate'"),
        ({"learning_rate": 0}, "training.adversary: learning_rate must be more than 0, got 0"),
        ({"periods": [1]}, r"training.adversary: periods must be more than 1, got \[1\]"),
        ({"resolutions": []}, "without resolutions and periods there is nothing that could judge"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(table, message):
    with pytest.raises(ConfigError, match=message):
        Options.of({"adversary": table})
