"""Models that hear two channels together: what they are given, and what becomes of mono, silence and odd channels."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.loading import from_recipe
from exdiff.model.diffusion import OUVEPath, Prediction
from exdiff.model.transforms import CompressedSTFT

RATE = 16000


@dataclass
class FakeCondition:
    y: Tensor
    estimate: Tensor


class Crossing(nn.Module):
    """Its estimate of each channel is a quarter of the other one and a tenth of its own, the second turned around."""

    sample_rate, channels, level, alignment = RATE, 2, "local", 63

    def __init__(self):
        super().__init__()
        self.extractor, self.path = nn.Identity(), OUVEPath()
        self.transform = CompressedSTFT(126, 63, "sqrt_hann", exponent=1.0, factor=1.0)
        self.shapes = []

    def condition(self, mixture):
        self.shapes.append(tuple(mixture.shape[:2]))
        estimate = 0.25 * mixture.flip(1) + 0.1 * mixture * torch.tensor([[[1.0], [-1.0]]])
        return FakeCondition(self.transform(estimate), estimate)

    def predict(self, x_t, t, condition):
        return Prediction(condition.y, "denoised", self.path, x_t, condition.y, t)


def expected(left, right):
    return np.stack([0.25 * right + 0.1 * left, 0.25 * left - 0.1 * right])


def enhancer(steps=0, **options):
    settings = {"segment_seconds": 1.0, "overlap_seconds": 0.4, "device": "cpu", **options}
    return Enhancer(Crossing(), "predictor_corrector", steps=steps, **settings)


def signal(channels=2, length=3 * RATE + 77, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, length)).astype(np.float32)


def test_both_channels_are_heard_together():
    made, song = enhancer(), signal()
    np.testing.assert_allclose(made(song, RATE), expected(*song), atol=1e-6)
    assert set(made.model.shapes) == {(1, 2)}


def test_mono_is_heard_as_equal_channels_and_averaged():
    mono = signal(1)
    wanted = expected(mono[0], mono[0]).mean(0)
    np.testing.assert_allclose(enhancer()(mono[0], RATE), wanted, atol=1e-6)
    twice = enhancer()(np.repeat(mono, 2, 0), RATE)
    np.testing.assert_array_equal(twice[0], twice[1])
    np.testing.assert_allclose(twice[0], wanted, atol=1e-6)


def test_more_channels_make_pairs_and_equal_pairs_share_the_work():
    made, song = enhancer(batch_windows=100, segment_seconds=5.0), signal(3)
    got = made(np.concatenate([song, song[:2]]), RATE)  # a b, c a, b: pairs (a, b), (c, a), and b alone
    assert got.shape[0] == 5
    np.testing.assert_allclose(got[:2], expected(*song[:2]), atol=1e-6)
    np.testing.assert_allclose(got[2:4], expected(song[2], song[0]), atol=1e-6)
    np.testing.assert_allclose(got[4], expected(song[1], song[1]).mean(0), atol=1e-6)
    made.model.shapes.clear()
    got = made(np.concatenate([song[:2], song[:2]]), RATE)
    assert made.model.shapes == [(1, 2)]
    np.testing.assert_array_equal(got[:2], got[2:])


def test_a_silent_channel_stays_silent_beside_one_that_is_not():
    song = signal()
    song[1] = 0
    got = enhancer()(song, RATE)
    np.testing.assert_allclose(got[0], 0.1 * song[0], atol=1e-6)
    assert not got[1].any()
    assert not enhancer()(np.zeros_like(song), RATE).any()


@pytest.mark.parametrize("rate", [16000, 44100])
def test_streams_batches_and_stems_agree(rate):
    song = signal(length=2 * rate + 77)
    whole = enhancer(steps=2)(song, rate, seed=3)
    streamed = list(enhancer(steps=2).stream(np.array_split(song, 7, axis=1), rate, seed=3))
    np.testing.assert_allclose(np.concatenate(streamed, axis=1), whole, atol=1e-5)
    np.testing.assert_allclose(enhancer(steps=2, batch_windows=3)(song, rate, seed=3), whole, atol=1e-5)
    stems = enhancer(steps=2).separate(song, rate, seed=3)
    np.testing.assert_allclose(stems["vocals"], whole, atol=1e-6)
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], song, atol=1e-6)
    assert np.abs(enhancer(steps=2)(song, rate, seed=4) - whole).max() > 1e-3


def test_the_noise_of_the_channels_is_not_the_same():
    made = enhancer(steps=1)
    song = np.repeat(signal(1), 2, 0)
    song[1] *= -1  # expected() of it is odd, too: only noise can break the symmetry
    noise = made(song, RATE, sampler="predictor_corrector", steps=2) - made(song, RATE, steps=0)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.5


@pytest.mark.parametrize("fusion", ["none", "add", "concat"])
@pytest.mark.parametrize("extractor", [{}, {"type": "spleeter", "channels": [4, 6], "n_fft": 128, "hop_length": 32}])
def test_a_diffusion_model_of_stereo(fusion, extractor):
    """Both kinds of extractor: one that hears both channels, and one that hears them one by one."""
    from exdiff.training.objective import Objective

    table = Recipe.load("debug").to_dict() | {"channels": 2, "fusion": {"type": fusion}}
    if extractor:
        table["extractor"] = extractor | {"bins": 32, "frames": 64}
    torch.manual_seed(0)
    recipe = Recipe.from_dict(table)
    model = build_model(recipe)
    song = torch.from_numpy(signal(length=2000))[None]
    Objective(model, joint=True)(song, song + 0.1 * torch.randn(1, 2, 2000))["loss"].backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    got = from_recipe(model, recipe, device="cpu")(song[0].numpy(), RATE)
    assert got.shape == (2, 2000)
    assert np.isfinite(got).all()


def test_more_than_two_cannot_be_heard_together():
    with pytest.raises(ConfigError, match="channels must be 1 or 2, got 3"):
        build_model(Recipe.from_dict(Recipe.load("debug").to_dict() | {"channels": 3}))
