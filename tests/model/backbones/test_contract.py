"""What every backbone promises, over the table: any F and N, gradients, time, condition, independence of the batch."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.backbones import BACKBONES, Backbone

NCSNPP = {"nf": 8, "ch_mult": (1, 1, 2), "num_res_blocks": 1, "image_size": 32}
SMALL = {
    "compact": {"channels": (8, 12, 16), "blocks": 1, "middle": 1, "hidden": 4, "embedding": 8},
    "ncsnpp": {**NCSNPP, "attn_resolutions": (16,)},
    "ncsnpp_v2": {**NCSNPP, "attn_resolutions": (32, 8)},
    "ncsnpp_48k": NCSNPP,
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(name: str, seed: int = 0) -> Backbone:
    """With random weights: outputs that start at zero would hide everything behind them."""
    torch.manual_seed(seed)
    made = BACKBONES[name](in_channels=6, out_channels=2, **SMALL[name])
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return made


@pytest.fixture(params=BACKBONES)
def backbone(request) -> Backbone:
    return trained(request.param)


def features(backbone: Backbone, bins: int, frames: int, batch: int = 1) -> list[torch.Tensor]:
    sizes = backbone.feature_sizes(bins, frames)
    return [noise(batch, c, *s, seed=i) for i, (c, s) in enumerate(zip(backbone.feature_channels, sizes, strict=True))]


@pytest.mark.parametrize(("bins", "frames"), [(1, 1), (17, 1), (31, 7), (32, 8), (33, 5)])
def test_any_grid_goes_in_and_comes_out(backbone, bins, frames):
    x, time = noise(2, 6, bins, frames), torch.tensor([0.1, 0.9])
    assert backbone(x, time).shape == (2, 2, bins, frames)
    assert backbone(x, time, features(backbone, bins, frames, 2)).shape == (2, 2, bins, frames)


def test_time_and_every_condition_map_matter(backbone):
    x, time = noise(1, 6, 33, 5), torch.tensor([0.5])
    maps = features(backbone, 33, 5)
    full = backbone(x, time, maps)
    assert not torch.allclose(backbone(x, time + 0.3, maps), full, atol=1e-4)
    for i, one in enumerate(maps):
        changed = [*maps[:i], noise(*one.shape, seed=9), *maps[i + 1 :]]  # a constant could drown in a norm
        assert not torch.allclose(backbone(x, time, changed), full, atol=1e-4), i


def test_no_condition_is_a_condition_of_zeros(backbone):
    x, time = noise(1, 6, 33, 5), torch.tensor([0.5])
    zeros = [torch.zeros_like(m) for m in features(backbone, 33, 5)]
    torch.testing.assert_close(backbone(x, time, zeros), backbone(x, time))
    torch.testing.assert_close(backbone(x, time, ()), backbone(x, time))


def test_gradients_reach_all_weights_and_the_condition(backbone):
    maps = [m.requires_grad_() for m in features(backbone, 33, 5, 2)]
    backbone(noise(2, 6, 33, 5), torch.tensor([0.2, 0.7]), maps).square().mean().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert parameter.grad.isfinite().all(), name
    assert all(m.grad is not None and m.grad.any() for m in maps)


def test_the_batch_does_not_matter(backbone):
    x, time, maps = noise(3, 6, 33, 5), torch.tensor([0.1, 0.5, 0.9]), features(backbone, 33, 5, 3)
    whole = backbone(x, time, maps)
    turned = backbone(x.flip(0), time.flip(0), [m.flip(0) for m in maps])
    torch.testing.assert_close(turned.flip(0), whole, rtol=1e-3, atol=1e-4)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(
            backbone(x[one], time[one], [m[one] for m in maps]), whole[one], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("name", BACKBONES)
def test_saved_and_loaded_is_the_same(name):
    first, second = trained(name), trained(name, seed=1)
    x, time = noise(1, 6, 33, 5), torch.tensor([0.5])
    assert not torch.allclose(first(x, time), second(x, time))
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(first(x, time), second(x, time))


def test_an_odd_embedding_is_refused():
    with pytest.raises(ConfigError, match="embedding must be even"):
        build(BACKBONES, {"type": "compact", **SMALL["compact"], "embedding": 7})
