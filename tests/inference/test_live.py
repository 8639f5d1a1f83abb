"""Live streams: any chunks, one constant delay, the same result as whole, the input where nothing is computed."""

import numpy as np
import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.errors import AudioError, ConfigError
from exdiff.core.recipe import Recipe
from exdiff.inference import from_recipe
from exdiff.inference.live_engines import LiveGrid
from exdiff.inference.options import Run
from exdiff.inference.windows import cut, overlap_add

TINY = ["extractor.channels=[8, 12]", "extractor.hidden=4", "extractor.middle=1", "enhancer.floor_db="]
SIZES = [1, 700, 33, 0, 2000, 160, 160, 481]


@pytest.fixture(scope="module")
def causal():
    """`causal(changes=True)` -> an enhancer with a tiny causal model; without changes it gives back its input."""

    def make(*, changes=True):
        torch.manual_seed(0)
        recipe = Recipe.load("speech-live", TINY)
        model = build_model(recipe)
        if changes:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.05 * torch.randn_like(parameter))
        return from_recipe(model, recipe, device="cpu", precision="fp32")

    return make


def noise(channels, length):
    return np.random.default_rng(0).uniform(-0.3, 0.3, (channels, length)).astype(np.float32)


def through(live, audio, sizes=SIZES, **options):
    """Everything that comes out, the last samples included."""
    parts, start = [], 0
    while start < audio.shape[-1]:
        for size in sizes:
            part = live.process(audio[..., start : start + size], **options)
            assert part.shape[-1] == audio[..., start : start + size].shape[-1]
            parts.append(part)
            start += size
    rest = live.flush()
    assert rest.shape[-1] == live.latency_samples
    return np.concatenate([*parts, rest], -1)


def decibels(error, reference):
    return 10 * np.log10(np.square(error).mean() / np.square(reference).mean() + 1e-20)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_causal_model_is_late_by_40_ms_at_most_and_by_what_it_says(causal, rate):
    live = causal(changes=False).live(rate)
    audio = noise(2, rate // 3)
    heard = through(live, audio)
    assert live.frame_by_frame and live.latency_seconds == live.latency_samples / rate <= 0.04
    assert not heard[:, : live.latency_samples].any()
    assert decibels(heard[:, live.latency_samples :] - audio, audio) < -100


def test_frame_by_frame_is_what_the_extractor_gives_for_the_whole(causal):
    enhancer, audio = causal(), noise(2, 6000)
    live = enhancer.live(16000)
    heard = through(live, audio)
    whole = enhancer.model.extractor(torch.from_numpy(audio)[None]).estimate[0].detach().numpy()
    assert decibels(whole - audio, audio) > -20, "otherwise nothing is tested"
    assert decibels(heard[:, live.latency_samples :] - whole, whole) < -90


@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_future_beyond_the_latency_is_not_heard(causal, rate):
    enhancer, audio = causal(), noise(1, rate // 4)
    other, place = audio.copy(), rate // 8
    other[:, place:] = 0
    live = enhancer.live(rate)
    first, second = through(live, audio), through(live, other)
    np.testing.assert_array_equal(first[:, :place], second[:, :place])
    assert (first[:, place : place + live.latency_samples] != second[:, place : place + live.latency_samples]).any()


def test_chunks_do_not_matter_at_another_rate(causal):
    live, audio = causal().live(44100), noise(1, 8000)
    assert decibels(through(live, audio) - through(live, audio, [8000]), audio) < -90


def test_windows_give_what_the_engine_gives_on_the_same_grid(network, enhancer):
    audio = noise(2, 20000)
    made = enhancer(steps=1, floor_db=-20.0)
    live = made.live(16000, latency_ms=450, seed=3)
    heard = through(live, audio)
    grid = LiveGrid.of_latency(made.model, 16000, 0.45)
    assert not live.frame_by_frame and live.latency_samples == grid.delay <= 0.45 * 16000
    padded = torch.cat([torch.zeros(1, 2, grid.seam), torch.from_numpy(audio)[None]], -1)
    windows = made.engine.process(cut([padded], grid), made._settings(16000, seed=3), Run())
    expected = torch.cat(list(overlap_add(windows, grid)), -1)[0, :, grid.seam :].numpy()
    assert not heard[:, : live.latency_samples].any()
    np.testing.assert_allclose(heard[:, live.latency_samples :], expected, atol=1e-6)
    assert live.run.nfe == 2 and live.run.audio_seconds == pytest.approx(1.25)


def test_short_streams_and_a_second_one(causal, enhancer):
    for live in (causal(changes=False).live(16000), enhancer(steps=0).live(16000, latency_ms=450)):
        assert live.flush() is None
        for length in (1, 300, 300):
            heard = through(live, noise(1, length), [100])
            assert heard.shape == (1, length + live.latency_samples)
            assert not heard[:, : live.latency_samples].any() and heard[:, live.latency_samples :].any()


@pytest.mark.parametrize("rate", [16000, 48000])
def test_bypassed_a_stream_is_the_input_in_its_place(causal, enhancer, rate):
    audio = noise(2, rate)
    for live in (causal().live(rate), enhancer().live(rate, latency_ms=450)):
        heard = through(live, audio, [rate // 100], bypass=True)[:, live.latency_samples : -live.latency_samples]
        expected = audio[:, : heard.shape[1]]
        assert decibels(heard - expected, expected) < -100
        assert live.run.nfe == 0


def test_strength_and_floor_mix_in_the_input_in_its_place(causal):
    enhancer, audio = causal(), noise(1, 5000)
    full, half = (through(enhancer.live(16000, strength=s), audio) for s in (1.0, 0.5))
    late = np.pad(audio, ((0, 0), (len(full[0]) - 5000, 0)))
    np.testing.assert_allclose(half, 0.5 * full + 0.5 * late, atol=1e-6)


def test_the_band_above_the_models_follows_the_top_of_the_models(causal):
    enhancer = causal(changes=False)
    extractor = enhancer.model.extractor
    with torch.no_grad():
        extractor.outlet.bias[: extractor.folding] = 0.5**0.5 - 1  # of the compressed magnitude: half of the waveform
    live, audio = enhancer.live(48000), noise(1, 24000)
    heard = through(live, audio)[:, live.latency_samples :]
    assert decibels((heard - 0.5 * audio)[:, 16000:], audio) < -60, "all bands are halved, also above 8 kHz"
    assert decibels((heard - audio)[:, :240], audio) < decibels((heard - audio)[:, 16000:], audio) - 1


def test_chunks_keep_their_kind(causal):
    enhancer = causal(changes=False)
    whole = np.random.default_rng(0).integers(-9000, 9000, 1000).astype(np.int16)
    live = enhancer.live(16000)
    heard = through(live, whole, [300])
    assert heard.dtype == np.int16
    np.testing.assert_allclose(heard[live.latency_samples :], whole, atol=1)
    live = enhancer.live(16000, channels_last=True)
    assert live.process(torch.zeros(100, 2)).shape == (100, 2)
    assert isinstance(live.flush(), torch.Tensor)


def test_wrong_chunks_and_latencies_are_one_clear_line(causal, enhancer):
    live = causal().live(16000)
    live.process(np.zeros(100, np.float32))
    with pytest.raises(AudioError, match="must agree"):
        live.process(np.zeros((2, 100), np.float32))
    with pytest.raises(AudioError, match="NaN"):
        live.process(np.full(100, np.nan, np.float32))
    with pytest.raises(AudioError, match=r"chunks \[T\] or \[C, T\], got the shape \[2, 1, 5\]"):
        causal().live(16000).process(np.zeros((2, 1, 5), np.float32))
    with pytest.raises(ConfigError, match="latency_ms must be 36 or more .* got 20; for less"):
        causal().live(48000, latency_ms=20)
    with pytest.raises(ConfigError, match="latency_ms must be 402 or more with this model at this rate, got 50"):
        enhancer().live(16000, latency_ms=50)
    with pytest.raises(ConfigError, match="positive number"):
        causal().live(16000, latency_ms=float("nan"))


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 44101, 48000])
@pytest.mark.parametrize("seconds", [None, 0.66, 0.8, 3.0])
def test_windows_never_wait_longer_than_asked(rate, seconds):
    class Model:
        alignment, sample_rate = 32 * 255, 16000

    try:
        grid = LiveGrid.of_latency(Model, rate, seconds)
    except ConfigError:
        assert seconds == 0.66 and rate % 16000, "a little more at rates that share little with the model's"
        return
    assert grid.delay == grid.hop + grid.fade + grid.ahead <= round((seconds or 1.0) * rate)
    assert grid.ahead >= 0.1 * rate - 1 and grid.seam >= 0.5 * rate
    assert rate % 16000 or grid.hop % (32 * 255 * rate // 16000) == 0
