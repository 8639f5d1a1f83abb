"""The Enhancer: one engine, whatever the rate, length, channels, chunks or batches."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.core.errors import AudioError, CheckpointError, ConfigError, DivergenceError
from exdiff.core.recipe import Recipe
from exdiff.core.stems import STEMS
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.loading import from_recipe, load
from exdiff.model.diffusion import OUVEPath, Prediction
from exdiff.model.transforms import CompressedSTFT

RATE = 16000
SHORT = {"segment_seconds": 1.0, "overlap_seconds": 0.4}


@dataclass
class FakeCondition:
    y: Tensor
    estimate: Tensor


class FakeModel(nn.Module):
    """Says that the clean signal is `factor` times the mixture's spectrogram; the estimate is a quarter of it."""

    def __init__(self, factor=1.0, sample_rate=RATE, level="local", extractor=True, path=True, channels=1):
        super().__init__()
        self.factor, self.sample_rate, self.level, self.channels = factor, sample_rate, level, channels
        self.extractor = nn.Identity() if extractor else None
        self.path = OUVEPath() if path else None
        self.transform = CompressedSTFT(126, 63, "sqrt_hann", exponent=1.0, factor=1.0)
        self.alignment = self.transform.hop_length

    def condition(self, mixture):
        return FakeCondition(self.transform(mixture), 0.25 * mixture)

    def predict(self, x_t, t, condition):
        return Prediction(self.factor * condition.y, "denoised", self.path, x_t, condition.y, t)


def identity(**options):
    return Enhancer(FakeModel(), "exponential", sampler_options={"t_end": 0.0}, device="cpu", **{**SHORT, **options})


def noisy(**options):
    """A stochastic sampler, so that every window's result depends on its own noise."""
    settings = {"steps": 3, "device": "cpu", **SHORT, **options}
    return Enhancer(FakeModel(0.5), "predictor_corrector", **settings)


def signal(channels=2, length=4 * RATE + 77, scale=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, scale, (channels, length)).astype(np.float32)


def test_an_enhancer_says_what_it_is():
    assert repr(noisy()) == "<Enhancer FakeModel: 16000 Hz, 3 steps of predictor_corrector, cpu>"
    assert repr(identity(steps=0)) == "<Enhancer FakeModel: 16000 Hz, 0 steps, cpu>"
    recipe = Recipe.load("debug")
    loaded = from_recipe(build_model(recipe), recipe, steps=1, device="cpu")
    assert repr(loaded) == "<Enhancer debug: 16000 Hz, 1 step of exponential, cpu>"


@pytest.mark.parametrize("steps", [1, 2])
def test_a_sampler_that_does_not_fit_the_path_is_refused_beforehand(steps):
    with pytest.raises(ConfigError, match="bridge_ode is for the path 'bridge' alone, got OUVEPath"):
        Enhancer(FakeModel(), "bridge_ode", steps=steps, device="cpu", **SHORT)
    Enhancer(FakeModel(), "bridge_ode", steps=0, device="cpu", **SHORT)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        ("heun", {"power": "slow"}, "sampler: power must be a number, got 'slow'"),
        ("heun", {"to_zero": 1}, "sampler: to_zero must be true or false, got 1"),
        ("euler_maruyama", {"stochasticity": [1]}, r"sampler: stochasticity must be a number, got \[1\]"),
        ("predictor_corrector", {"corrector_steps": 0.5}, "corrector_steps must be a whole number, got 0.5"),
        ("exponential", {"t_start": 0.02}, "got times from 0.02 to 0.03"),
        ("exponential", {"power": 500}, "got power 500 for 3 steps: some times are equal in float32"),
    ],
)
def test_wrong_values_of_a_sampler_s_options_are_refused_beforehand(sampler, options, message):
    with pytest.raises(ConfigError, match=message):
        Enhancer(FakeModel(), sampler, steps=3, sampler_options=options, device="cpu", **SHORT)


@pytest.mark.parametrize("steps", [1.5, "two", None, True])
def test_the_steps_of_a_recipe_are_a_whole_number(steps):
    recipe = Recipe.load("debug")
    recipe.sampler["steps"] = steps
    with pytest.raises(ConfigError, match=f"steps must be a whole number, 0 or more, got {steps!r}"):
        from_recipe(build_model(recipe), recipe, device="cpu")


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_a_model_that_changes_nothing_gives_back_the_input(rate):
    audio = signal(length=2 * rate + 13)
    got = identity()(audio, rate)
    assert got.shape == audio.shape
    np.testing.assert_allclose(got, audio, atol=2e-5)


@pytest.mark.parametrize("sizes", [[1000], [16000], [7, 90000], [40000, 0, 1, 3]])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_stream_equals_whole(sizes, rate):
    audio = signal(length=3 * rate + 77)
    whole = noisy()(audio, rate, seed=3)
    chunks, start = [], 0
    while start < audio.shape[1]:
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(audio[:, start : start + size])
        start += size
    parts = list(noisy().stream(iter(chunks), rate, seed=3))
    assert len(parts) > 2
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    assert np.abs(whole - 0.5 * audio).max() > 1e-3  # there was noise to disagree about


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_batches_of_windows_change_nothing(batch):
    audio = signal(channels=3)
    one, many = noisy(batch_windows=1), noisy(batch_windows=batch)
    np.testing.assert_allclose(many(audio, RATE), one(audio, RATE), atol=1e-5)
    assert one.last.windows == many.last.windows == 7


def test_each_channel_is_a_signal_of_its_own():
    audio = signal()
    got = noisy()(audio, RATE)
    np.testing.assert_allclose(noisy()(audio[0], RATE), got[0], atol=1e-5)
    assert np.abs(noisy()(audio[1], RATE) - got[1]).max() > 1e-3  # channel 1 has noise of its own


def test_equal_channels_stay_equal_and_silence_silent():
    mono = signal(1)
    got = noisy()(np.concatenate([mono, 0 * mono, mono]), RATE)
    np.testing.assert_array_equal(got[0], got[2])
    assert not got[1].any()


def test_the_seed_decides():
    audio = signal(1)[0]
    enhancer = noisy()
    np.testing.assert_array_equal(enhancer(audio, RATE, seed=1), enhancer(audio, RATE, seed=1))
    assert np.abs(enhancer(audio, RATE, seed=1) - enhancer(audio, RATE, seed=2)).max() > 1e-3


def test_windows_have_noise_of_their_own():
    """A signal that repeats with the hop: equal windows, different noise."""
    hop = int(0.6 * RATE)
    audio = np.tile(signal(1, hop), 4)[0]
    got = noisy()(audio, RATE)
    inner = slice(int(0.3 * RATE), int(0.5 * RATE))
    assert np.abs(got[inner] - got[inner.start + hop : inner.stop + hop]).max() > 1e-3


@pytest.mark.parametrize("length", [0, 1, 2, 50, 999, RATE // 2, RATE, RATE + 1])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_any_length(length, rate):
    got = noisy()(signal(length=length), rate)
    assert got.shape == (2, length)
    assert np.isfinite(got).all()
    streamed = list(noisy().stream([signal(length=length)], rate))
    assert sum(part.shape[1] for part in streamed) == length


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(RATE),
        np.full(RATE, 0.7),
        np.sign(np.sin(np.arange(RATE) / 9)),
        1e-30 * np.ones(RATE),
        1e30 * np.sin(np.arange(RATE)),
        3.4e38 * np.sin(np.arange(RATE)),
        np.eye(1, RATE, 8000)[0],
    ],
    ids=["silence", "dc", "clipped", "tiny", "huge", "largest", "click"],
)
@pytest.mark.parametrize("level", ["local", "peak"])
def test_strange_signals_stay_finite(audio, level):
    enhancer = Enhancer(FakeModel(0.9, level=level), "predictor_corrector", steps=2, device="cpu")
    for rate in (RATE, 48000):
        got = enhancer(audio, rate)
        assert got.shape == audio.shape
        assert got.dtype == audio.dtype
        assert np.isfinite(got).all()


def test_scale_does_not_matter():
    audio = signal(1)[0]
    got = noisy()(audio, RATE)
    np.testing.assert_allclose(noisy()(audio * 2.0**20, RATE) / 2.0**20, got, atol=2e-3 * np.abs(got).max())


def test_below_the_floor_the_input_stays():
    audio = signal()
    bare, floored = noisy()(audio, RATE), noisy(floor_db=-20.0)(audio, RATE)
    np.testing.assert_allclose(floored, 0.9 * bare + 0.1 * audio, atol=1e-6)
    np.testing.assert_allclose(noisy(floor_db=-20.0)(audio, RATE, strength=0.5), 0.5 * floored + 0.5 * audio, atol=1e-6)
    np.testing.assert_array_equal(noisy(floor_db=None)(audio, RATE), bare)
    with pytest.raises(ConfigError, match=r"floor_db must be 0 or less, got 3\.0"):
        noisy(floor_db=3.0)


def test_strength_mixes_with_the_input():
    audio, enhancer = signal(), noisy()
    full = enhancer(audio, 44100)
    np.testing.assert_allclose(enhancer(audio, 44100, strength=0.3), 0.3 * full + 0.7 * audio, atol=1e-6)
    np.testing.assert_allclose(enhancer(audio, 44100, strength=0.0), audio, atol=1e-7)


def test_no_steps_is_the_estimate_alone():
    audio = signal()
    enhancer = noisy()
    np.testing.assert_allclose(enhancer(audio, RATE, steps=0), 0.25 * audio, atol=1e-6)
    assert enhancer.last.nfe == 0
    with pytest.raises(ConfigError, match="this model has no extractor"):
        Enhancer(FakeModel(extractor=False), "exponential", device="cpu")(audio, RATE, steps=0)
    with pytest.raises(ConfigError, match="extractor alone"):
        Enhancer(FakeModel(path=False), steps=0, device="cpu")(audio, RATE, steps=1)


@pytest.mark.parametrize(
    ("sampler", "steps", "nfe"), [("predictor_corrector", 3, 6), ("heun", 4, 7), ("exponential", 2, 2)]
)
def test_evaluations_are_counted_per_window(sampler, steps, nfe):
    enhancer = noisy()
    enhancer(signal(1), RATE, sampler=sampler, steps=steps)
    assert enhancer.last.nfe == nfe
    assert enhancer.last.audio_seconds == pytest.approx(4 + 77 / RATE)
    assert enhancer.last.seconds > 0
    assert enhancer.last.rtf == pytest.approx(enhancer.last.seconds / enhancer.last.audio_seconds)
    assert isinstance(enhancer.model, FakeModel)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_stems_sum_to_the_song(rate):
    song = signal(length=2 * rate + 5)
    enhancer = noisy()
    stems = enhancer.separate(song, rate, seed=2, strength=0.8)
    assert tuple(stems) == STEMS == ("vocals", "accompaniment")
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], song, atol=1e-6)
    np.testing.assert_allclose(stems["vocals"], enhancer(song, rate, seed=2, strength=0.8), atol=1e-6)
    streamed = list(enhancer.separate_stream(np.array_split(song, 9, axis=1), rate, seed=2, strength=0.8))
    for name in STEMS:
        np.testing.assert_allclose(np.concatenate([s[name] for s in streamed], axis=1), stems[name], atol=1e-5)


@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_the_kind_of_array_comes_back(dtype):
    audio = (signal(1)[0] * (2**15 if dtype == "int16" else 1)).astype(dtype)
    got = identity()(audio, RATE)
    assert got.dtype == audio.dtype
    np.testing.assert_allclose(got, audio, atol=1 if dtype == "int16" else 1e-5)
    tensor = torch.from_numpy(audio)
    back = identity()(tensor, RATE)
    assert back.dtype == tensor.dtype
    assert np.array_equal(back.numpy(), got)
    flat = list(identity().stream(torch.from_numpy(audio).split(5000), RATE))
    assert all(isinstance(part, Tensor) and part.ndim == 1 for part in flat)
    assert np.array_equal(torch.cat(flat).numpy(), got)


def test_the_high_band_follows_the_model():
    """A model that removes everything takes the band above its own along; one that keeps all keeps it."""
    audio = signal(1, 48000)
    gone = Enhancer(FakeModel(1e-3), "exponential", sampler_options={"t_end": 0.0}, device="cpu")(audio, 48000)
    assert (gone**2).sum() < 1e-3 * (audio**2).sum()


def test_the_stream_is_lazy():
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield signal(1, 1600, seed=read)

    parts = noisy().stream(endless(), RATE)
    assert read == 0
    produced = sum(next(parts).shape[1] for _ in range(4))
    assert 1600 * read - produced <= 3 * RATE


def test_streams_that_are_empty_or_inconsistent():
    assert list(noisy().stream([], RATE)) == []
    assert list(noisy().stream([np.zeros(0, np.float32)], RATE)) == []
    for second in (signal(1), signal(2)[0], signal(2).astype(np.int16)):
        with pytest.raises(AudioError, match="chunks of a stream must agree"):
            list(noisy().stream([signal(2), second], RATE))
    with pytest.raises(AudioError, match="NaN"):
        list(noisy().stream([np.array([np.nan])], RATE))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": -1}, "steps must be a whole number"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"strength": 1.2}, r"strength must lie in \[0, 1\]"),
        ({"strength": "a"}, r"strength must lie in \[0, 1\], got 'a'"),
        ({"steps": 0, "sampler": "heun"}, "with steps=0 no sampler is used"),
        ({"sampler": "exponental"}, "did you mean 'exponential'"),
    ],
)
def test_options_out_of_range_are_refused_before_any_work(options, match):
    with pytest.raises(ConfigError, match=match):
        noisy()(signal(), RATE, **options)
    with pytest.raises(ConfigError, match=match):
        noisy().stream(iter([]), RATE, **options)


def test_an_option_that_does_not_exist_is_refused_by_every_call():
    enhancer = noisy()
    for call in (enhancer, enhancer.separate, enhancer.stream, enhancer.separate_stream):
        with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
            call(signal(), RATE, step=4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"sampler_options": {"nosie_scale": 0}}, "did you mean 'noise_scale'"),
        ({"batch_windows": 0}, "batch_windows must be 1 or more"),
        ({"segment_seconds": 1.0, "overlap_seconds": 1.0}, "do not fit"),
        ({"sampler": None}, "needs a sampler"),
    ],
)
def test_an_enhancer_that_cannot_be(options, match):
    with pytest.raises(ConfigError, match=match):
        Enhancer(FakeModel(), **{"sampler": "exponential", **options})


def test_options_of_one_sampler_do_not_disturb_another():
    enhancer = noisy(sampler_options={"snr": 0.1, "noise_scale": 0.0})
    enhancer(signal(1), RATE, sampler="exponential")
    a, b = enhancer(signal(1), RATE, seed=1), enhancer(signal(1), RATE, seed=2)
    np.testing.assert_array_equal(a, b)  # noise_scale 0 reaches sampler and prior


def test_a_diverging_sampler_is_an_error():
    def diverging(predict, x, times, *, path, generator=None, callback=None, noise_scale=1.0):
        return predict(x, times[:1]).denoised * torch.nan

    with pytest.raises(DivergenceError, match="diverged"):
        Enhancer(FakeModel(), diverging, device="cpu")(signal(), RATE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debug")
    torch.manual_seed(0)
    recipe = Recipe.load("debug")
    save_model(build_model(recipe), recipe, folder)
    return folder


def test_load_follows_the_recipe_and_its_overrides(checkpoint):
    recipe = Recipe.load("debug").sampler
    enhancer = load(checkpoint, device="cpu")
    assert enhancer.sampler is not None
    assert (enhancer.sampler.__name__, enhancer.steps) == (recipe["type"], recipe["steps"])
    other = load(str(checkpoint), sampler="heun", steps=3, device="cpu", segment_seconds=4.0)
    got = other(signal(), 44100)
    assert np.isfinite(got).all()
    assert other.last.nfe == 5
    with pytest.raises(ConfigError, match="unknown key 'segment_second'"):
        load(checkpoint, segment_second=3)
    with pytest.raises(CheckpointError, match="unknown model"):
        load("no-such-model")


def test_a_real_model_streams_as_it_enhances(checkpoint):
    enhancer = load(checkpoint, device="cpu", precision="fp32", **SHORT)
    audio = signal(length=2 * RATE + 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = enhancer(audio, RATE, sampler="predictor_corrector", steps=2)
        parts = enhancer.stream(np.array_split(audio, 5, axis=1), RATE, sampler="predictor_corrector", steps=2)
        streamed = np.concatenate(list(parts), axis=1)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)
    batched = load(checkpoint, device="cpu", precision="fp32", batch_windows=3, **SHORT)
    np.testing.assert_allclose(batched(audio, RATE, sampler="predictor_corrector", steps=2), whole, atol=1e-4)


def test_the_embedded_model_gives_the_same_in_windows_as_in_one():
    """Trained networks could remember; what a frame hears ends within the overlap, so that seams change nothing."""
    noisy_files = sorted(Path("examples/speech/noisy").glob("*.flac"))
    audio = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in noisy_files])[: 12 * RATE]
    options = {"device": "cpu", "precision": "fp32"}
    whole = load("speech", segment_seconds=15.0, **options)(audio, RATE)
    windows = load("speech", segment_seconds=5.0, **options)(audio, RATE)
    difference = 10 * np.log10(np.square(windows - whole).sum() / np.square(whole).sum())
    assert difference < -50
