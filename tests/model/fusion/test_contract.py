"""What every fusion promises, over the table: it aligns any grid, begins neutral, and learns."""

from __future__ import annotations

import functools

import pytest
import torch

from exdiff.model.backbones import BACKBONES
from exdiff.model.fusion import FUSIONS, regrid

LATENTS = (6, 4, 2)
FEATURES = (8, 12)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def latents(batch: int, *grids: tuple[int, int]) -> list[torch.Tensor]:
    return [noise(batch, d, *grid, seed=i) for i, (d, grid) in enumerate(zip(LATENTS, grids, strict=True))]


def trained(name: str):
    torch.manual_seed(0)
    fusion = FUSIONS[name](LATENTS, FEATURES)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    return fusion


def merged(fusion, given, sizes, time=0.5) -> list[torch.Tensor]:
    """What becomes of a map of noise at each level when the fusion's features have entered it."""
    features = fusion(given, sizes)
    batch = given[0].shape[0]
    # The same noise for every item, so that one item is comparable with a batch.
    maps = [noise(1, c, *s, seed=9).repeat(batch, 1, 1, 1) for c, s in zip(FEATURES, sizes, strict=True)]
    times = torch.full((batch,), time)
    return [fusion.combine(j, x, f, times) for j, (x, f) in enumerate(zip(maps, features))]  # noqa: B905


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("grids", [((16, 9), (8, 9), (4, 9)), ((1, 1), (1, 1), (1, 1)), ((7, 33), (64, 5), (3, 1))])
@pytest.mark.parametrize("sizes", [[(16, 9), (8, 9)], [(31, 1), (5, 17)]])
def test_any_latent_grid_aligns(name, grids, sizes):
    maps = merged(trained(name), latents(2, *grids), sizes)
    assert not maps or [tuple(m.shape) for m in maps] == [(2, c, *s) for c, s in zip(FEATURES, sizes, strict=True)]
    assert bool(maps) is (name != "none")
    assert all(m.isfinite().all() for m in maps)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_any_number_of_latents_serves_any_number_of_levels(name, depth, levels):
    fusion = FUSIONS[name]([4] * depth, [8] * levels)
    maps = fusion([noise(1, 4, 6, 5)] * depth, [(6, 5)] * levels)
    assert len(maps) in (0, levels)


@pytest.mark.parametrize("name", FUSIONS)
def test_fresh_it_leaves_the_backbone_as_it_is(name):
    torch.manual_seed(0)
    backbone = BACKBONES["compact"](in_channels=2, channels=FEATURES, hidden=4)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, time = noise(1, 2, 33, 5), torch.tensor([0.5])
    grids = latents(1, (16, 9), (8, 9), (4, 9))
    sizes = backbone.feature_sizes(33, 5)
    plain = backbone(x, time)

    def through(fusion):
        return backbone(x, time, fusion(grids, sizes), functools.partial(fusion.combine, time=time))

    torch.testing.assert_close(through(FUSIONS[name](LATENTS, FEATURES)), plain)
    fusion = trained(name)
    if name != "none":
        assert not torch.allclose(through(fusion), plain, atol=1e-3)
    if fusion.adds:  # then the backbone does it by itself
        torch.testing.assert_close(backbone(x, time, fusion(grids, sizes)), through(fusion))


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fresh_fusion_can_learn(name):
    fusion = FUSIONS[name](LATENTS, FEATURES)
    parameters = dict(fusion.named_parameters())
    maps = merged(fusion, latents(1, (16, 9), (8, 9), (4, 9)), [(16, 9), (8, 9)])
    assert bool(parameters) is (name != "none")
    if not parameters:
        return
    torch.stack([(m * noise(*m.shape)).sum() for m in maps]).sum().backward()
    # Zero-initialised outputs block what lies before them, never everything.
    assert any(p.grad is not None and p.grad.any() for p in parameters.values())
    fusion = trained(name)
    maps = merged(fusion, latents(1, (16, 9), (8, 9), (4, 9)), [(16, 9), (8, 9)])
    torch.stack([(m * noise(*m.shape)).sum() for m in maps]).sum().backward()
    for key, parameter in fusion.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", FUSIONS)
def test_the_batch_does_not_matter(name):
    fusion, given, sizes = trained(name), latents(3, (16, 9), (8, 9), (4, 9)), [(20, 7), (5, 4)]
    whole = merged(fusion, given, sizes)
    for i in range(3):
        alone = merged(fusion, [m[i : i + 1] for m in given], sizes)
        for a, b in zip(alone, whole, strict=True):
            torch.testing.assert_close(a, b[i : i + 1], rtol=1e-4, atol=1e-4)


def test_regrid_means_where_it_gets_coarser_and_keeps_constants():
    x = torch.arange(8.0).reshape(1, 1, 4, 2)
    assert regrid(x, (2, 1)).flatten().tolist() == [1.5, 5.5]
    assert regrid(x, (4, 2)) is x
    for size in [(1, 1), (8, 4), (3, 5), (9, 1)]:
        torch.testing.assert_close(regrid(torch.full((1, 2, 4, 2), 7.0), size), torch.full((1, 2, *size), 7.0))


def test_regrid_is_linear_in_between():
    x = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert regrid(x, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
