"""Attention over pooled latents: bounded in what it sees and costs, equal to the sum written out."""

from __future__ import annotations

import math

import pytest
import torch

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.fusion import FUSIONS, CrossAttentionFusion
from exdiff.model.fusion.cross_attention import LocalAttention
from exdiff.model.nn.cost import Counter


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm()


def test_it_is_the_sum_written_out():
    torch.manual_seed(0)
    attention, query, tokens = LocalAttention(4, 2, 3), noise(2, 4, 5, 6), noise(2, 8, 3, 6, seed=1)
    found = attention(query, tokens)
    for item, head, band, frame in [(0, 0, 0, 0), (1, 1, 4, 5), (0, 1, 2, 3)]:
        part = slice(2 * head, 2 * head + 2)
        logits, values = [], []
        for f in range(3):
            for place in range(3):
                there = min(max(frame + place - 1, 0), 5)  # the edges repeat their frame
                key = tokens[item, :4, f, there] + attention.offset[:, place]
                logits.append(math.sqrt(2) * unit(query[item, part, band, frame]) @ unit(key[part]))
                values.append(tokens[item, 4:, f, there][part])
        expected = torch.softmax(torch.stack(logits), 0) @ torch.stack(values)
        torch.testing.assert_close(found[item, part, band, frame], expected)


def trained(**options) -> CrossAttentionFusion:
    torch.manual_seed(0)
    fusion = CrossAttentionFusion([5, 3], [4], width=8, heads=2, bands=6, **options)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    return fusion


@pytest.mark.parametrize("grid", [(1, 1), (7, 5), (33, 20)])
@pytest.mark.parametrize("size", [(1, 1), (9, 1), (5, 13)])
def test_odd_grids_and_few_tokens(grid, size):
    fusion = trained()
    (feature,) = fusion([noise(1, 5, *grid), noise(1, 3, *grid)], [size])
    assert feature.shape == (1, 16, min(6, grid[0]), size[1])
    assert fusion.combine(0, noise(1, 4, *size), feature, torch.ones(1)).shape == (1, 4, *size)


def test_a_frame_sees_its_neighbours_and_no_further():
    fusion, latents, x = trained(), [noise(1, 5, 8, 9), noise(1, 3, 8, 9)], noise(1, 4, 10, 9)

    def out() -> torch.Tensor:
        return fusion.combine(0, x, fusion(latents, [(10, 9)])[0], torch.ones(1))

    before = out()
    latents[0][..., 4] += 1
    changed = (out() - before).abs().amax((0, 1, 2)) > 1e-5
    assert changed.tolist() == [i in (3, 4, 5) for i in range(9)]


def test_the_products_are_counted():
    fusion, x = trained(), noise(1, 4, 10, 9)
    feature = fusion([noise(1, 5, 8, 9), noise(1, 3, 8, 9)], [(10, 9)])[0]
    with Counter(fusion) as counter:
        fusion.combine(0, x, feature, torch.ones(1))
    positions, tokens = 10 * 9, 6 * 3
    assert counter.macs == positions * ((4 + 6) * 8 + 2 * 8 * tokens + 8 * 4)


@pytest.mark.parametrize(
    ("options", "message"), [({"context": 2}, "context must be odd"), ({"width": 9}, "width must be a multiple")]
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(FUSIONS, {"type": "cross_attention", **options}, latent_channels=[2], feature_channels=[2])
