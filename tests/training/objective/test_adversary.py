"""The adversary: it learns to tell, teaches only the generator while judging, and is balanced as published."""

from __future__ import annotations

import copy

import pytest
import torch

from exdiff.training.objective.adversary import Adversary
from exdiff.training.objective.gradients import balanced


def noise(seed: int, length: int = 2000) -> torch.Tensor:
    return 0.1 * torch.randn(2, 1, length, generator=torch.Generator().manual_seed(seed))


def test_it_learns_to_tell_made_from_real():
    torch.manual_seed(0)
    adversary, losses = Adversary(), []
    for step in range(12):
        adversary.generator_loss(0.01 * noise(100 + step), noise(step))
        losses.append(adversary.step().item())
    assert losses[-1] < 0.7 * losses[0]


def test_judging_teaches_the_generator_and_not_the_judge():
    torch.manual_seed(0)
    adversary, made = Adversary(), noise(0).requires_grad_()
    adversary.generator_loss(made, noise(1)).backward()
    assert made.grad is not None
    assert made.grad.any()
    assert made.grad.isfinite().all()
    assert all(p.grad is None and p.requires_grad for p in adversary.parameters())


def test_silence_is_judged_too():
    torch.manual_seed(0)
    adversary, made = Adversary(), torch.zeros(1, 1, 2000, requires_grad=True)
    adversary.generator_loss(made, torch.zeros(1, 1, 2000)).backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    assert adversary.step().isfinite()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_gradient_has_the_asked_share_of_the_main_one(scale):
    at = torch.randn(7, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    main, other = 3 * at.abs().sum(), scale * (at.real - 2).square().sum()
    (wanted,) = torch.autograd.grad(main, at, retain_graph=True)
    (got,) = torch.autograd.grad(balanced(main, other, at, 0.3), at)
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
