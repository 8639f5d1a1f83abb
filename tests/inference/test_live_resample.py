"""The resampler of live streams: exact for what both rates hold, in any chunks, and as early as it says."""

import numpy as np
import pytest

from exdiff.inference.live_resample import LiveResampler

RATES = [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (8000, 16000), (22050, 16000)]


def tones(rate, seconds, lowest):
    """Sines below 0.8 of the lower Nyquist frequency: what they are at any other rate is known."""
    time = np.arange(round(rate * seconds)) / rate
    frequencies = np.array([0.03, 0.31, 0.55, 0.8]) * lowest / 2
    return np.stack([np.sin(2 * np.pi * f * time + i) for i, f in enumerate(frequencies)]).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_tones_come_out_as_they_are_at_the_other_rate(source, target):
    resampler = LiveResampler(source, target, 4)
    heard = resampler.feed(tones(source, 0.3, min(source, target)))
    expected = tones(target, 0.3, min(source, target))[:, : heard.shape[1]]
    assert heard.shape[1] > 0.28 * target
    margin = round(0.01 * target)  # silence precedes the stream
    error = np.square(heard - expected)[:, margin:].mean(1) / 0.5
    assert 10 * np.log10(error.max()) < -75


@pytest.mark.parametrize(("source", "target"), RATES)
def test_chunks_do_not_matter_and_nothing_comes_later_than_promised(source, target):
    audio = np.random.default_rng(0).normal(size=(2, source // 10)).astype(np.float32)
    whole = LiveResampler(source, target, 2).feed(audio)
    resampler = LiveResampler(source, target, 2)
    parts, fed, given = [], 0, 0
    for size in [1, 0, 7, 100, 1, 333] * 12:
        parts.append(resampler.feed(audio[:, fed : fed + size]))
        fed, given = min(fed + size, audio.shape[1]), given + parts[-1].shape[1]
        assert given >= np.ceil((fed - resampler.ahead) * target / source)
    heard = np.concatenate(parts, 1)
    np.testing.assert_allclose(heard, whole[:, : heard.shape[1]], atol=1e-6)


def test_what_the_lower_rate_cannot_hold_is_gone():
    time = np.arange(24000) / 48000
    heard = LiveResampler(48000, 16000, 1).feed(np.sin(2 * np.pi * 8300 * time)[None].astype(np.float32))
    assert np.abs(heard[:, 400:]).max() < 1e-4
