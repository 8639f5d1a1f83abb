"""The band above the model's: kept with the voice, attenuated with the noise, exact when nothing changes."""

import numpy as np
import pytest
import torch

from exdiff.audio import resample
from exdiff.inference.high_band import band_gain as tensor_gain
from exdiff.inference.high_band import restore_high_band

RATE, MODEL = 48000, 16000


def restore(original, low, enhanced, rate, cutoff):
    return restore_high_band(*map(torch.from_numpy, (original, low, enhanced)), rate, cutoff).numpy()


def band_gain(before, after, rate, band):
    return tensor_gain(torch.from_numpy(before), torch.from_numpy(after), rate, band).numpy()


def low_band(audio):
    return resample(resample(audio, RATE, MODEL), MODEL, RATE)[:, : audio.shape[1]]


def high_energy(audio):
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.shape[1]))) ** 2
    return spectrum[:, int(9000 * audio.shape[1] / RATE) :].sum()


@pytest.fixture
def half_speech_half_noise():
    """One second that the model keeps, then one that it silences; white noise stands for both."""
    return np.random.default_rng(0).normal(0, 0.1, (1, 2 * RATE)).astype(np.float32)


def test_follows_what_the_model_did(half_speech_half_noise):
    audio = half_speech_half_noise
    low = low_band(audio)
    enhanced = low * np.where(np.arange(2 * RATE) < RATE, 1.0, 0.01).astype(np.float32)
    result = restore(audio, low, enhanced, RATE, MODEL / 2)
    kept, silenced = slice(0, int(0.9 * RATE)), slice(int(1.1 * RATE), None)
    np.testing.assert_allclose(result[:, kept], audio[:, kept], atol=1e-5)
    drop_db = 10 * np.log10(high_energy(result[:, silenced]) / high_energy(audio[:, silenced]))
    assert drop_db == pytest.approx(-40, abs=1)


def test_is_exact_when_nothing_changes(half_speech_half_noise):
    low = low_band(half_speech_half_noise)
    result = restore(half_speech_half_noise, low, low, RATE, MODEL / 2)
    np.testing.assert_allclose(result, half_speech_half_noise, atol=1e-6)


def test_never_amplifies(half_speech_half_noise):
    low = low_band(half_speech_half_noise)
    assert band_gain(low, 5 * low, RATE, (4000, 7200)).max() == 1.0


def test_is_smooth_in_time(half_speech_half_noise):
    low = low_band(half_speech_half_noise)
    gain = band_gain(low, low * (np.arange(2 * RATE) < RATE).astype(np.float32), RATE, (4000, 7200))
    assert np.abs(np.diff(gain)).max() * RATE < 60  # per second: the fall takes over 15 ms
    assert gain[0, RATE // 2] > 0.99
    assert gain[0, 3 * RATE // 2] < 0.01


def test_looks_at_its_band_alone():
    time = np.arange(RATE) / RATE
    below, within = (np.sin(2 * np.pi * f * time).astype(np.float32)[None] * 0.3 for f in (500, 5000))
    middle = slice(RATE // 4, 3 * RATE // 4)
    assert band_gain(below + within, within, RATE, (4000, 7200))[:, middle].min() > 0.99
    assert band_gain(below + within, below, RATE, (4000, 7200))[:, middle].max() < 0.05


def test_channels_do_not_mix(half_speech_half_noise):
    low = low_band(half_speech_half_noise)
    both = band_gain(np.concatenate([low, low]), np.concatenate([low, 0 * low]), RATE, (4000, 7200))
    assert both[0].min() > 0.999
    assert both[1].max() < 0.01


@pytest.mark.parametrize("length", [1, 10, 700, 1537])
def test_any_length(length):
    x = np.ones((2, length), np.float32)
    np.testing.assert_allclose(restore(x, 0.5 * x, 0.5 * x, RATE, MODEL / 2), x, atol=1e-6)


def reference_gain(before, after, rate, band):
    """The definition in float64, frame by frame."""
    frame = 2 * max(2, round(0.032 * rate / 2))
    hop, window = frame // 2, np.hanning(frame + 1)[:-1]
    bins = np.arange(*(int(np.ceil(edge * frame / rate)) for edge in band))

    def energies(row):
        count = len(row) // hop + 2
        padded = np.pad(row.astype(np.float64), (hop, count * hop - len(row)))
        frames = [padded[k * hop : k * hop + frame] * window for k in range(count)]
        power = [np.square(np.abs(np.fft.rfft(f)[bins])).sum() * 2 / (frame * (window**2).sum()) for f in frames]
        kernel = np.hanning(7)[1:-1]
        return np.convolve(power, kernel)[2:-2] / np.convolve(np.ones(count), kernel)[2:-2]

    rows = []
    for x, y in zip(before, after, strict=True):
        ratio = np.sqrt(np.minimum(1, (energies(y) + 1e-10) / (energies(x) + 1e-10)))
        rows.append(np.interp(np.arange(len(x)), np.arange(len(ratio)) * hop, ratio))
    return np.stack(rows)


@pytest.mark.parametrize(("rate", "length"), [(48000, 30011), (44100, 441), (22050, 8000), (11025, 3)])
def test_agrees_with_the_definition(rate, length):
    random = np.random.default_rng(length)
    before = random.normal(0, [[0.1], [1e-5], [3.0]], (3, length)).astype(np.float32)
    after = (before * random.uniform(0, 1.2, (3, length))).astype(np.float32)
    band = (0.2 * rate / 2, 0.4 * rate / 2)
    difference = band_gain(before, after, rate, band) - reference_gain(before, after, rate, band)
    assert 20 * np.log10(np.abs(difference).max() + 1e-12) < -120


def test_the_callers_autocast_does_not_reach_it(half_speech_half_noise):
    low = low_band(half_speech_half_noise)
    plain = band_gain(low, 0.3 * low, RATE, (4000, 7200))
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(band_gain(low, 0.3 * low, RATE, (4000, 7200)), plain)
