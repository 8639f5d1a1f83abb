"""What a model costs: each kind of layer counted as the products it makes, and the fusion's share told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.recipe import Recipe
from exdiff.model.fusion import FUSIONS
from exdiff.model.nn.cost import Counter, gmac_per_second


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(3, 5), (2, 7, 3), 2 * 7 * 15),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 5, 5), 25 * 6 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 5, 5), 25 * 4 * 6 * 4),
        (nn.LSTM(3, 4, batch_first=True, bidirectional=True), (2, 7, 3), 2 * 7 * 2 * 16 * (3 + 4)),
        (nn.GRU(3, 4), (2, 7, 3), 2 * 7 * 12 * (3 + 4)),
    ],
)
def test_layers_count_as_their_products(layer, shape, expected):
    with Counter(layer) as counter:
        layer(torch.zeros(shape))
    assert counter.macs == expected
    layer(torch.zeros(shape))
    assert counter.macs == expected, "it counts only while it is entered"


@pytest.mark.parametrize("name", FUSIONS)
def test_the_fusions_share_is_told(name):
    cost, plain = (
        gmac_per_second(build_model(Recipe.load("debug", [f"fusion={{type: {kind}}}"])), 0.5) for kind in (name, "none")
    )
    assert (cost["fusion_once"] > 0) is (name != "none")
    assert (cost["fusion_each"] > 0) is (name in ("gated", "cross_attention"))
    assert cost["extraction"] == pytest.approx(plain["extraction"] + cost["fusion_once"])
    assert cost["evaluation"] == pytest.approx(plain["evaluation"] + cost["fusion_each"])
