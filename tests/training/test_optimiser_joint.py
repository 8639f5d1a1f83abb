"""Updating many parameters by few operators: the steps that torch's optimisers take one parameter after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from exdiff.training.optimiser import OPTIMISERS, AdamW, Matrices, Muon, make_optimiser, orthogonalised


def train(model: nn.Module, optimiser, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        x = torch.randn(8, 2, 3, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x.mean((1, 2, 3))[:, None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def matrices_and_vectors(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    return [p for p in model.parameters() if p.ndim >= 2], [p for p in model.parameters() if p.ndim < 2]


class TorchMuon:
    """torch's own optimisers, as they were used before: one matrix after the other."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.weights, vectors = matrices_and_vectors(model)
        self.views = [nn.Parameter(w.detach().view(len(w), -1)) for w in self.weights]
        options = {"lr": lr, "weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.95}
        self.muon = torch.optim.Muon(self.views, **options)
        self.adamw = torch.optim.AdamW(vectors, lr=lr, weight_decay=0.0, betas=(0.9, 0.98))

    def zero_grad(self) -> None:
        self.adamw.zero_grad()
        for weight in self.weights:
            weight.grad = None

    def step(self) -> None:
        for weight, view in zip(self.weights, self.views, strict=True):
            view.grad = None if weight.grad is None else weight.grad.view(view.shape)
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}


def many() -> nn.Sequential:
    """Several matrices of one shape, tall and wide ones, a matrix of one row."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)]
    return nn.Sequential(*layers, nn.Conv2d(4, 1, 1), nn.Flatten(), nn.Linear(12, 30), nn.Tanh(), nn.Linear(30, 3))


def test_batched_muon_takes_the_steps_of_torchs_one_by_one():
    ours, other = many(), many()
    first, second = Muon(ours.parameters(), lr=1e-2), TorchMuon(other, lr=1e-2)
    start = copy.deepcopy(ours.state_dict())
    for step in range(4):
        train(ours, first, 1, first=step)
        train(other, second, 1, first=step)
        for key, value in ours.state_dict().items():
            moved = (other.state_dict()[key] - start[key]).norm()
            assert (value - other.state_dict()[key]).norm() < 0.03 * moved, "bfloat16 has 8 bits"


def test_states_of_torchs_optimisers_are_read_and_gone_on_with():
    """Those of runs before the optimisers here were written."""
    ours, other = many(), many()
    second = TorchMuon(other, lr=1e-2)
    train(other, second, 3)
    ours.load_state_dict(other.state_dict())
    first = Muon(ours.parameters(), lr=0.5)
    first.load_state_dict(copy.deepcopy(second.state_dict()))
    before = copy.deepcopy(ours.state_dict())
    train(ours, first, 1, first=3)
    train(other, second, 1, first=3)
    for key, value in ours.state_dict().items():
        moved = (other.state_dict()[key] - before[key]).norm()
        assert (value - before[key]).norm() > 0
        assert (value - other.state_dict()[key]).norm() < 0.03 * moved, key
    saved, known = first.state_dict()["muon"], second.state_dict()["muon"]
    assert saved["state"].keys() == known["state"].keys()
    for index, part in known["state"].items():
        torch.testing.assert_close(
            saved["state"][index]["momentum_buffer"], part["momentum_buffer"], rtol=1e-4, atol=1e-6
        )


def test_adamw_takes_the_steps_of_torchs():
    ours, other = many(), many()
    first = AdamW(ours.parameters(), lr=1e-2)
    second = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.01, betas=(0.9, 0.98))
    train(ours, first, 3)
    train(other, second, 3)
    resumed = AdamW(other.parameters(), lr=0.5)
    resumed.load_state_dict(copy.deepcopy(second.state_dict()))
    train(ours, first, 1, first=3)
    train(other, resumed, 1, first=3)
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_that_is_not_finite_changes_nothing(name):
    model = many()
    optimiser = make_optimiser(name, model.parameters(), lr=1e-2)
    train(model, optimiser, 2)
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimiser.state_dict())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step(torch.tensor(False))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    for part in ("muon", "adamw") if name == "muon" else (None,):
        now, then = ((s[part] if part else s)["state"] for s in (optimiser.state_dict(), state))
        for index, values in then.items():
            assert all(torch.equal(now[index][key], value) for key, value in values.items()), "moments"
    optimiser.step(torch.tensor(True))
    assert not torch.equal(model[0].weight, before["0.weight"])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_parameter_without_a_gradient_waits_with_its_state(name):
    """And the others do not notice."""
    model, alone = many(), many()
    optimiser, other = (make_optimiser(name, m.parameters(), lr=1e-2) for m in (model, alone))
    train(model, optimiser, 2)
    train(alone, other, 2)
    idle, before = model[1].weight, model[1].weight.detach().clone()
    for each, steps in ((model, optimiser), (alone, other)):
        for parameter in each.parameters():
            parameter.grad = torch.ones_like(parameter)
        if each is model:
            idle.grad = None
        steps.step()
    assert torch.equal(idle, before)
    torch.testing.assert_close(model[2].weight, alone[2].weight, rtol=1e-2, atol=1e-3)
    idle.grad = torch.ones_like(idle)
    for parameter in model.parameters():
        if parameter is not idle:
            parameter.grad = None
    optimiser.step()
    torch.testing.assert_close(idle, alone[1].weight, rtol=1e-2, atol=1e-3)


def test_orthogonalised_matrices_keep_their_directions():
    matrices = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    made = orthogonalised(matrices)
    assert made.dtype == torch.bfloat16
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(made.float())
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(
        (u.mT @ made.float() @ v.mT).diagonal(dim1=1, dim2=2).sum(1), values.sum(1), rtol=0.02, atol=0
    )
    assert not orthogonalised(torch.zeros(1, 3, 3)).any(), "a matrix without a gradient has no direction"


def test_muon_needs_few_operators_however_many_matrices():
    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            self.number += not function.is_view
            return function(*arguments, **(options or {}))

    def operators(count: int) -> int:
        weights = [nn.Parameter(torch.randn(4, 4)) for _ in range(count)]
        optimiser = Matrices(weights, lr=0.1, weight_decay=0.01)
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimiser.step()
        with Count() as counting:
            optimiser.step(torch.tensor(True))
        return counting.number

    assert operators(20) == operators(2) < 40
