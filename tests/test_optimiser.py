"""Optimisers: every parameter moves, a quadratic falls, and a saved state goes on to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from exdiff.errors import ConfigError
from exdiff.optimiser import OPTIMISERS, Muon, grad_norm, make_optimiser


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
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert grad_norm([parameter], 1.0).item() == pytest.approx(5.0)
    assert parameter.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
    assert grad_norm([parameter], 10.0).item() == pytest.approx(1.0, rel=1e-4)
    assert parameter.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
