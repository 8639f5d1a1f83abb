"""The compressed STFT: perfect reconstruction, the magnitude law, and gradients where the magnitude is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.transforms import TRANSFORMS, CompressedSTFT, pad_frames

SHAPES = [  # n_fft, hop_length, window
    (510, 255, "sqrt_hann"),
    (510, 128, "hann"),
    (512, 128, "hann"),
    (64, 32, "hann"),
    (64, 20, "sqrt_hann"),
    (62, 16, "hann"),
]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from(SHAPES),
    length=st.integers(1, 1500),
    exponent=st.sampled_from([0.3, 0.5, 0.667, 1.0]),
    factor=st.sampled_from([0.15, 1.0]),
)
def test_round_trip(shape, length, exponent, factor):
    transform = CompressedSTFT(*shape, exponent=exponent, factor=factor)
    wave = torch.randn(2, 1, length, generator=torch.Generator().manual_seed(length))
    spectrum = transform(wave)
    frames = -(-length // transform.hop_length) + 1
    assert spectrum.shape == (2, 1, transform.bins, frames)
    assert spectrum.dtype == torch.complex64
    torch.testing.assert_close(transform.inverse(spectrum, length), wave, rtol=0, atol=2e-4)


@pytest.mark.parametrize("transform", [c() for c in TRANSFORMS.values()], ids=TRANSFORMS)
@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 4001])
def test_every_transform_comes_back_with_its_channels(transform, length):
    wave = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0))
    spectrum = transform(wave)
    assert spectrum.shape[:2] == (2, 3)
    torch.testing.assert_close(transform.inverse(spectrum, length), wave, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frames", [2, 3, 40])
def test_the_inverse_is_torchs_to_the_bit_and_waits_for_nothing(shape, frames):
    transform = CompressedSTFT(*shape, exponent=1.0, factor=1.0)
    spectrum = torch.randn(
        2, 1, transform.bins, frames, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    length = (frames - 1) * transform.hop_length - 1
    wanted = torch.istft(spectrum[:, 0], *shape[:2], window=transform.window, length=length)
    assert torch.equal(transform.inverse(spectrum, length)[:, 0], wanted)
    without_values = CompressedSTFT(*shape).to("meta").inverse(spectrum.to("meta"), length)
    assert without_values.shape == (2, 1, length)


def test_compression_is_the_published_law():
    transform = CompressedSTFT(exponent=0.5, factor=0.15)
    spectrum = torch.tensor([4.0 + 0j, -9j, 0.01 + 0j])
    torch.testing.assert_close(transform.compress(spectrum), torch.tensor([0.3 + 0j, -0.45j, 0.015 + 0j]))


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.8, 1.0])
def test_expand_undoes_compress(exponent):
    transform = CompressedSTFT(exponent=exponent, factor=0.15)
    spectrum = torch.randn(500, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)) * 30
    torch.testing.assert_close(transform.expand(transform.compress(spectrum)), spectrum, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("law", ["compress", "expand"])
def test_gradients_are_finite_at_zero(exponent, law):
    spectrum = torch.zeros(4, dtype=torch.complex64, requires_grad=True)
    out = getattr(CompressedSTFT(exponent=exponent), law)(spectrum)
    assert (out == 0).all()
    out.real.sum().backward()
    assert spectrum.grad is not None
    assert torch.view_as_real(spectrum.grad).isfinite().all()


def test_missing_frames_count_as_silence():
    transform = CompressedSTFT(64, 32)
    spectrum = transform(torch.ones(1, 1, 320))
    wave = transform.inverse(spectrum[..., :6], 320)
    torch.testing.assert_close(wave[..., :128], torch.ones(1, 1, 128), rtol=0, atol=1e-4)
    assert not wave[..., 160:].any()
    assert not transform.inverse(spectrum[..., :1], 320).any()


def test_reflected_framing_is_torchs_own():
    transform = CompressedSTFT(510, 128, exponent=1.0, factor=1.0, framing="reflected")
    for length in (5120, 5121, 5247):
        wave = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(0))
        spectrum = transform(wave)
        expected = torch.stft(wave[0], 510, 128, window=torch.hann_window(510), return_complex=True)
        assert spectrum.shape[-1] == length // 128 + 1
        torch.testing.assert_close(spectrum[0], expected)
        torch.testing.assert_close(transform.inverse(spectrum, length), wave, rtol=0, atol=1e-4)
        # Frames behind the signal are allowed, and so is a signal that is longer than the frames.
        longer = torch.nn.functional.pad(spectrum, (0, 9))
        torch.testing.assert_close(transform.inverse(longer, length)[..., :5000], wave[..., :5000], rtol=0, atol=1e-4)
        assert transform.inverse(spectrum, 9000).shape == (1, 1, 9000)


def test_reflected_framing_takes_short_signals():
    transform = CompressedSTFT(510, 128, framing="reflected")
    assert transform(torch.ones(1, 1, 3)).isfinite().all()


@pytest.mark.parametrize("factor", [0.15, 1.0])
def test_the_logarithmic_law(factor):
    transform = CompressedSTFT(law="log", factor=factor)
    spectrum = torch.randn(500, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)) * 30
    small = transform.compress(spectrum)
    torch.testing.assert_close(small.abs(), factor * torch.log(1 + spectrum.abs()))
    torch.testing.assert_close(small.angle(), spectrum.angle(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(transform.expand(small), spectrum, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 5, 40, 64, 65])
def test_padded_frames_equal_numpys(frames):
    spectrum = torch.randn(2, 3, frames, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    missing = -frames % 64
    for padding, mode in [("zeros", "constant"), ("reflected", "reflect")]:
        expected = np.pad(spectrum.numpy(), ((0, 0), (0, 0), (0, missing)), mode=mode)
        np.testing.assert_array_equal(pad_frames(spectrum, 64, padding).numpy(), expected)
    assert pad_frames(spectrum, 1) is spectrum
    with pytest.raises(ValueError, match="padding must be one of zeros, reflected"):
        pad_frames(spectrum, 64, "mirror")


def test_mid_and_side_are_a_rotation():
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(3, 2, 700, generator=generator)
    plain, rotated = CompressedSTFT(126, 63), CompressedSTFT(126, 63, stereo="mid_side")
    left, right = plain.expand(plain(wave)).unbind(1)
    mid, side = rotated.expand(rotated(wave)).unbind(1)
    torch.testing.assert_close(mid, (left + right) / 2**0.5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(side, (left - right) / 2**0.5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rotated.inverse(rotated(wave), 700), wave, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rotated(wave[:, :1]), plain(wave[:, :1]))


def test_it_has_no_weights_to_save():
    assert not CompressedSTFT().state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "hamming"}, "window must be 'hann' or 'sqrt_hann', got 'hamming'"),
        ({"exponent": 0}, r"exponent must be in \(0, 1\], got 0"),
        ({"exponent": 1.1}, "exponent must be in"),
        ({"hop_length": 0}, "hop_length must be in"),
        ({"n_fft": 64, "hop_length": 33}, "got 33 for n_fft 64"),
        ({"n_fft": 511}, "n_fft must be even"),
        ({"factor": 0}, "factor must be positive"),
        ({"law": "lgo"}, "law must be 'power' or 'log', got 'lgo'"),
        ({"framing": "half"}, "framing must be 'whole' or 'reflected', got 'half'"),
        ({"stereo": "mid"}, "stereo must be 'left_right' or 'mid_side', got 'mid'"),
        ({"nfft": 64}, "did you mean 'n_fft'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        build(TRANSFORMS, {"type": "stft", **options})


def test_the_inverse_gets_real_frames_whatever_a_network_says_at_the_ends(monkeypatch):
    transform, seen = CompressedSTFT(64, 32), []
    spectrum = transform(torch.randn(1, 1, 300)) + 0.1j
    expected, irfft = transform.inverse(spectrum, 300), torch.fft.irfft
    monkeypatch.setattr(torch.fft, "irfft", lambda frames, n: seen.append(frames) or irfft(frames, n))
    assert torch.equal(transform.inverse(spectrum, 300), expected)
    (frames,) = seen
    assert not frames[..., [0, -1]].imag.any() and frames[..., 1:-1].imag.all()
