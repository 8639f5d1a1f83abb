"""The gate: it follows the time, stays between nothing and everything, and is the written formula."""

from __future__ import annotations

import pytest
import torch

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.fusion import FUSIONS, GatedFusion
from exdiff.model.nn.layers import time_code


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def fusion() -> GatedFusion:
    torch.manual_seed(0)
    made = GatedFusion([3], [4, 6], embedding=8)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_the_gate_depends_on_the_time_of_each_item(fusion):
    x, feature = noise(2, 4, 5, 7), noise(2, 4, 5, 7, seed=1)
    early, late = (fusion.combine(0, x, feature, torch.full((2,), t)) for t in (0.1, 0.9))
    assert not torch.allclose(early, late, atol=1e-3)
    mixed = fusion.combine(0, x, feature, torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(mixed, torch.stack([early[0], late[1]]))


def test_it_is_the_formula(fusion):
    x, feature, t = noise(1, 6, 5, 7), noise(1, 6, 5, 7, seed=1), torch.tensor([0.4])
    embedding = torch.nn.functional.silu(fusion.embed[0](time_code(t, 8)))
    when = embedding @ fusion.time[1].weight.T
    weight, bias = fusion.gate[1].weight[:, :, 0, 0], fusion.gate[1].bias
    logits = torch.einsum("oc,bcfn->bofn", weight, x + feature) + bias[:, None, None] + when[:, :, None, None]
    torch.testing.assert_close(fusion.combine(1, x, feature, t), x + torch.sigmoid(logits) * feature)


def test_an_open_gate_is_addition_and_a_closed_one_is_nothing(fusion):
    x, feature, t = noise(1, 4, 5, 7), noise(1, 4, 5, 7, seed=1), torch.tensor([0.4])
    for bias, expected in ((1e4, x + feature), (-1e4, x)):
        torch.nn.init.constant_(fusion.gate[0].bias, bias)
        torch.testing.assert_close(fusion.combine(0, x, feature, t), expected)


def test_an_odd_embedding_is_refused():
    with pytest.raises(ConfigError, match="embedding must be even"):
        build(FUSIONS, {"type": "gated", "embedding": 7}, latent_channels=[2], feature_channels=[2])
