"""Concatenation at the input and modulation, against what their names promise."""

from __future__ import annotations

import torch

from exdiff.model.fusion import ConcatFusion, FiLMFusion, regrid


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random(fusion):
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    return fusion


def test_concat_is_a_layer_over_concatenated_channels():
    fusion, latents = random(ConcatFusion([3, 2], [4, 5])), [noise(1, 3, 8, 6), noise(1, 2, 4, 3)]
    x, sizes = noise(1, 4, 16, 7), [(16, 7), (8, 7)]
    finest, coarse = fusion(latents, sizes)
    wide = torch.nn.Conv2d(5, 4, 1)
    with torch.no_grad():
        wide.weight.copy_(torch.cat([layer.weight for layer in fusion.project], 1))
        wide.bias.copy_(sum(layer.bias for layer in fusion.project))
    stacked = torch.cat([regrid(m, sizes[0]) for m in latents], 1)
    torch.testing.assert_close(x + finest, x + wide(stacked), rtol=1e-4, atol=1e-4)
    assert not coarse.any()


def test_film_scales_and_shifts():
    fusion = FiLMFusion([2], [3])
    with torch.no_grad():
        fusion.project[0].bias.copy_(torch.tensor([1.0, 0.0, -1.0, 0.5, 0.0, 2.0]))
    (feature,) = fusion([noise(1, 2, 4, 6)], [(8, 6)])
    x = noise(1, 3, 8, 6)
    expected = x * torch.tensor([2.0, 1.0, 0.0])[:, None, None] + torch.tensor([0.5, 0.0, 2.0])[:, None, None]
    torch.testing.assert_close(fusion.combine(0, x, feature, torch.ones(1)), expected)
