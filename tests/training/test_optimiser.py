"""Optimisers: every parameter moves, a quadratic falls, and a saved state goes on to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from exdiff.core.errors import ConfigError
from exdiff.training.objective.gradients import clip, join_gradients
from exdiff.training.optimiser import OPTIMISERS, Muon, make_optimiser


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 1), nn.Flatten(), nn.Linear(12, 3))


def train(model: nn.Module, optimiser, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        x = torch.randn(8, 2, 3, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x.mean((1, 2, 3))[:, None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_moves(name):
    model = network()
    before = copy.deepcopy(model.state_dict())
    train(model, make_optimiser(name, model.parameters(), lr=1e-2), 1)
    for key, value in model.state_dict().items():
        assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_quadratic_falls(name):
    weight, bias = nn.Parameter(torch.eye(3, 4)), nn.Parameter(torch.ones(3))
    optimiser = make_optimiser(name, [weight, bias], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        (weight.square().sum() + bias.square().sum()).backward()
        optimiser.step()
    assert weight.abs().max() < 0.5
    assert bias.abs().max() < 0.5


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_saved_state_goes_on_to_the_bit(name, tmp_path):
    model = network()
    optimiser = make_optimiser(name, model.parameters(), lr=1e-2)
    train(model, optimiser, 3)
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "state.pt")
    train(model, optimiser, 3, first=3)
    other = network()
    resumed = make_optimiser(name, other.parameters(), lr=0.5)  # the rate is part of the state
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimiser"])
    train(other, resumed, 3, first=3)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_rate_is_set_through_the_groups(name):
    model = network()
    optimiser = make_optimiser(name, model.parameters(), lr=1.0)
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(model.parameters()))
    before = copy.deepcopy(model.state_dict())
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    train(model, optimiser, 1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_frozen_parameters_stay(name):
    model = network()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    train(model, make_optimiser(name, model.parameters(), lr=0.1), 2)
    assert all(torch.equal(v, before[k]) for k, v in model[0].state_dict().items())


def test_zero_grad_forgets_what_muon_saw():
    model = network()
    optimiser = Muon(model.parameters(), lr=0.1, weight_decay=0.0)
    train(model, optimiser, 1)
    optimiser.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    before = copy.deepcopy(model.state_dict())
    optimiser.step()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("shape", [(3, 4), (3,)])
def test_muon_takes_models_of_one_kind_of_parameter(shape):
    parameter = nn.Parameter(torch.ones(shape))
    optimiser = make_optimiser("muon", [parameter], lr=0.1)
    parameter.square().sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
    assert (parameter < 1).all()


def test_an_unknown_optimiser_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown optimiser 'mion'; did you mean 'muon'"):
        make_optimiser("mion", network().parameters(), lr=1.0)


def test_grad_norm_clips_and_tells():
    first, second, idle = (nn.Parameter(torch.zeros(1, 2)) for _ in range(3))
    first.grad, second.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    gradient = join_gradients([first, second, idle])
    assert clip(gradient, 1.0).item() == pytest.approx(5.0)
    for _ in range(2):
        torch.testing.assert_close(first.grad, torch.tensor([[0.6, 0.0]]), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(second.grad, torch.tensor([[0.0, 0.8]]), rtol=1e-4, atol=1e-6)
        assert clip(gradient, 10.0).item() == pytest.approx(1.0, rel=1e-4)
    assert idle.grad is None


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_becomes_zero(bad):
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([1.0, bad])
    assert not clip(join_gradients([parameter]), 1.0).isfinite()
    assert parameter.grad.tolist() == [0, 0]


def convolutions() -> nn.Sequential:
    """Kernels of several shapes: some have no view as a matrix in channels-last memory."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.Conv2d(6, 4, (1, 5), padding=(0, 2)),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 1, 1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("when", ["before", "during"])
def test_channels_last_weights_train_as_contiguous_ones_do(name, when):
    """Also if the memory format changes under the optimiser, as when a model in training is used for inference."""
    plain, other = convolutions(), convolutions()
    if when == "before":
        other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisers = [make_optimiser(name, model.parameters(), lr=1e-2) for model in (plain, other)]
    train(plain, optimisers[0], 2)
    train(other, optimisers[1], 2)
    if when == "during":
        other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert not other[0].weight.is_contiguous()
    before = copy.deepcopy(other.state_dict())
    train(plain, optimisers[0], 3, first=2)
    train(other, optimisers[1], 3, first=2)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-2, atol=2e-3, msg=key)
        assert not torch.equal(other.state_dict()[key], before[key]), key


def test_a_state_saved_in_one_memory_format_goes_on_in_the_other():
    plain, other = convolutions(), convolutions()
    first = Muon(plain.parameters(), lr=1e-2)
    train(plain, first, 3)
    other.load_state_dict(plain.state_dict())
    other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    second = Muon(other.parameters(), lr=1e-2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(plain, first, 1, first=3)
    train(other, second, 1, first=3)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-3, atol=1e-4, msg=key)
