"""The bridge between sample rates: the resampler against soxr, latents in the band, frames that meet."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import torch

from exdiff.model.extractors import ResampledExtractor, Resampler

RATES = [(16000, 48000), (48000, 16000), (16000, 32000), (44100, 16000), (16000, 44100)]


def band_limited(rate: int, top: float, seconds: float = 0.5) -> np.ndarray:
    """Noise [T] below `top` Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(0).normal(size=round(rate * seconds)))
    spectrum[np.fft.rfftfreq(round(rate * seconds), 1 / rate) > top] = 0
    return np.fft.irfft(spectrum, round(rate * seconds)).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_resampler_agrees_with_soxr(source, target):
    wave = band_limited(source, 0.4 * min(source, target))
    ours = Resampler(source, target)(torch.from_numpy(wave)[None])[0].numpy()
    theirs = soxr.resample(wave, source, target, "VHQ")
    assert len(ours) == -(-len(wave) * target // source)
    inner = slice(target // 50, min(len(ours), len(theirs)) - target // 50)
    error = np.mean((ours[inner] - theirs[inner]) ** 2) / np.mean(theirs[inner] ** 2)
    assert 10 * np.log10(error) < -55


def test_resampler_keeps_out_what_does_not_fit():
    wave = torch.from_numpy(band_limited(48000, 24000))
    high = wave - torch.from_numpy(band_limited(48000, 9000))
    assert 10 * torch.log10(Resampler(48000, 16000)(high[None]).var() / high.var()) < -40


@pytest.mark.parametrize(("source", "target"), [(16000, 16000), (16000, 48000), (44100, 16000)])
@pytest.mark.parametrize("length", [1, 5, 441, 1000])
def test_resampler_lengths_constants_and_gradients(source, target, length):
    wave = torch.ones(2, length, requires_grad=True)
    out = Resampler(source, target)(wave)
    assert out.shape == (2, -(-length * target // source))
    if length == 1000:
        middle = out[:, out.shape[1] // 2]
        torch.testing.assert_close(middle, torch.ones_like(middle), rtol=1e-4, atol=1e-4)
    out.sum().backward()
    assert wave.grad.isfinite().all()


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_conversion_is_the_same_under_autocast(source, target, dtype):
    convert, wave = Resampler(source, target), torch.from_numpy(band_limited(source, 7000))[None]
    expected = convert(wave)
    with torch.autocast("cpu", dtype):
        found = convert(wave)
    assert found.dtype == torch.float32
    error = (found - expected).square().mean() / expected.square().mean()
    assert 10 * torch.log10(error + 1e-30) < -100


def test_a_waveform_in_bfloat16_leaves_it_in_float32():
    for target in (8000, 16000):
        assert Resampler(16000, target)(torch.ones(1, 100, dtype=torch.bfloat16)).dtype == torch.float32


class Echo(ResampledExtractor):
    """Hears nothing but its input; its latent's rows are the numbers of their bins."""

    latent_channels = (1, 1)

    def extract(self, wave):
        bins = torch.arange(8.0)[None, None, :, None].expand(len(wave), 1, 8, 5)
        return torch.nn.functional.pad(wave, (0, 7)), [bins, bins.mean(2, keepdim=True)]


@pytest.mark.parametrize(("rate", "expected"), [(32000, 4), (16000, 8), (8000, 16)])
def test_latents_keep_to_the_models_band(rate, expected):
    wave = torch.from_numpy(band_limited(16000, 3000))[None, None, :1001]
    extraction = Echo(16000, rate)(wave)
    assert extraction.estimate.shape == wave.shape
    error = (extraction.estimate - wave)[..., 100:-100].square().mean() / wave.square().mean()
    assert error < 1e-4
    rows = extraction.latents[0][0, 0, :, 0].tolist()
    assert rows == [float(i) if i < 8 else 0.0 for i in range(expected)]
    assert extraction.latents[1].shape[2] == 1
    assert Echo(16000, rate, linear=False)(wave).latents[0].shape[2] == 8


@pytest.mark.parametrize(
    ("sample_rate", "rate", "hop", "expected"),
    [(16000, 16000, 320, 320), (16000, 32000, 320, 160), (16000, 48000, 480, 160), (16000, 44100, 441, 160),
     (16000, 32000, 321, 321), (48000, 16000, 128, 384), (16000, 48000, 1, 1)],
)  # fmt: skip
def test_frames_meet_again_after_whole_hops(sample_rate, rate, hop, expected):
    alignment = Echo(sample_rate, rate, hop).alignment
    assert alignment == expected
    there = alignment * rate / sample_rate
    assert there == int(there)
    assert int(there) % hop == 0


def test_wrong_rates_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        Echo(16000, 0)
