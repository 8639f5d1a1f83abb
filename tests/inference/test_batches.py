"""Batches [B, C, T], layouts, and tensors that stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from exdiff.core.stems import STEMS

RATE = 16000


def batch(items, channels, length=RATE + 4321, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (items, channels, length)).astype(np.float32)


@pytest.mark.parametrize("items", [1, 3, 5])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_each_item_is_enhanced_as_it_is_alone(enhancer, items, channels, heard, rate):
    made, audio = enhancer(heard), batch(items, channels)
    got, run = made.run(audio, rate, seed=3)
    assert got.shape == audio.shape
    assert got.dtype == audio.dtype
    windows = 0
    for item, result in zip(audio, got, strict=True):
        alone, own = made.run(item, rate, seed=3)
        np.testing.assert_array_equal(result, alone)
        windows += own.windows
    assert run.windows == windows
    assert run.audio_seconds == pytest.approx(items * audio.shape[-1] / rate)


@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("size", [2, 4, 7])
def test_items_may_share_a_batch_of_the_model(enhancer, heard, size):
    """Windows of several items go through the model together, to the same result up to rounding."""
    made, audio = enhancer(heard, batch_windows=size), batch(5, 2, RATE)
    sizes = []
    condition = made.model.condition
    made.model.condition = lambda mixture: sizes.append(len(mixture)) or condition(mixture)
    got = made(audio, RATE, seed=1)
    assert sizes == [size] * (5 * 2 // heard // size) + [n for n in [5 * 2 // heard % size] if n]
    wanted = enhancer(heard)(audio, RATE, seed=1)
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert np.abs(wanted - enhancer(heard)(audio, RATE, seed=2)).max() > 1e-3  # the noise matters


def test_silence_and_twins_are_found_in_each_item(enhancer):
    audio = batch(3, 3)
    audio[0, 1] = 0
    audio[1, 2] = audio[1, 0]
    audio[2] = 0
    got = enhancer()(audio, RATE)
    assert not got[0, 1].any()
    assert not got[2].any()
    np.testing.assert_array_equal(got[1, 2], got[1, 0])
    for item, result in zip(audio, got, strict=True):
        np.testing.assert_array_equal(enhancer()(item, RATE), result)


def test_items_at_very_different_levels_do_not_disturb_each_other(enhancer):
    audio = batch(3, 1) * np.array([1e-6, 1.0, 1e9], np.float32)[:, None, None]
    got = enhancer(batch_windows=3)(audio, RATE)
    for item, result in zip(audio, got, strict=True):
        alone = enhancer()(item, RATE)
        np.testing.assert_allclose(result, alone, atol=2e-5 * np.abs(alone).max())


@pytest.mark.parametrize("shape", [(0, 1, 8000), (2, 2, 0), (3, 1, 1)])
def test_small_batches(enhancer, shape):
    audio = np.ones(shape, np.float32)
    assert enhancer()(audio, RATE).shape == shape
    assert enhancer().separate(audio, RATE)["vocals"].shape == shape


@pytest.mark.parametrize("rate", [16000, 32000])
def test_stems_of_a_batch(enhancer, rate):
    made, songs = enhancer(2), batch(3, 2)
    stems = made.separate(songs, rate, seed=5)
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], songs, atol=1e-6)
    np.testing.assert_array_equal(stems["vocals"], made(songs, rate, seed=5))
    for name in STEMS:
        np.testing.assert_array_equal(stems[name][1], made.separate(songs[1], rate, seed=5)[name])


def test_streams_of_batches(enhancer):
    made, audio = enhancer(), batch(3, 2, 3 * RATE)
    parts = list(made.stream(np.array_split(audio, 8, axis=-1), RATE))
    assert len(parts) > 2
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), made(audio, RATE), atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("shape", [(20000,), (20000, 2), (2, 20000, 2)])
def test_channels_last_gives_the_same_in_the_same_layout(enhancer, shape, kind):
    audio = np.random.default_rng(1).normal(0, 0.1, shape).astype(np.float32)
    turned = np.ascontiguousarray(np.moveaxis(audio, -1, -2)) if len(shape) > 1 else audio
    made = enhancer()
    wanted = made(turned, RATE)
    back = np.moveaxis(wanted, -1, -2) if len(shape) > 1 else wanted
    options = {"channels_last": True}
    np.testing.assert_array_equal(made(kind(audio), RATE, **options), back)
    np.testing.assert_array_equal(made.run(kind(audio), RATE, **options)[0], back)
    np.testing.assert_array_equal(made.separate(kind(audio), RATE, **options)["vocals"], back)
    halves = [kind(part) for part in np.split(audio, 2, axis=0 if len(shape) < 3 else 1)]
    streamed = [np.asarray(part) for part in made.stream(halves, RATE, **options)]
    np.testing.assert_allclose(np.concatenate(streamed, axis=0 if len(shape) < 3 else 1), back, atol=1e-6)
    both = list(made.separate_stream(halves, RATE, **options))
    assert sum(part["accompaniment"].shape[-2] if len(shape) > 1 else len(part["vocals"]) for part in both) == 20000


@pytest.fixture
def at_home(monkeypatch):
    """No audio may leave its device for the CPU or numpy; a few numbers may, to decide what is computed."""
    tolist = Tensor.tolist

    def refuse(*_args, **_options):
        raise AssertionError("a tensor left its device")

    monkeypatch.setattr(Tensor, "cpu", refuse)
    monkeypatch.setattr(Tensor, "numpy", refuse)
    monkeypatch.setattr(Tensor, "__array__", refuse)
    monkeypatch.setattr(Tensor, "tolist", lambda self: refuse() if self.numel() > 100 else tolist(self))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int16])
@pytest.mark.parametrize("heard", [1, 2])
def test_a_tensor_at_the_models_rate_never_passes_through_numpy(enhancer, at_home, dtype, heard):
    made = enhancer(heard, floor_db=-30.0)
    audio = torch.from_numpy(batch(2, 2))
    audio = (audio * 2**15).to(dtype) if dtype == torch.int16 else audio.to(dtype)
    got = made(audio, RATE, strength=0.7)
    assert (got.dtype, got.shape, got.device) == (dtype, audio.shape, audio.device)
    made.separate(audio[0], RATE)
    list(made.stream(audio.split(7000, dim=-1), RATE))


def test_results_are_ordinary_tensors(enhancer):
    """Made under inference mode they could not take part in a caller's gradient."""
    audio = torch.from_numpy(batch(1, 1)[0]).requires_grad_()
    made = enhancer()
    for rate in (RATE, 8000):
        results = [made(audio, rate), *made.separate(audio, rate).values(), *made.stream([audio], rate)]
        for result in results:
            assert not result.is_inference()
            assert not result.requires_grad
            weight = torch.ones((), requires_grad=True)
            (result * weight).sum().backward()


def test_streams_do_not_mix_devices_or_kinds(enhancer):
    from exdiff.core.errors import AudioError

    audio = batch(1, 1)[0]
    for second in (torch.from_numpy(audio), audio[None], audio.astype(np.float64)):
        with pytest.raises(AudioError, match="chunks of a stream must agree"):
            list(enhancer().stream([audio, second], RATE))
