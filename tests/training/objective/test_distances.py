"""Losses against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from exdiff.training.objective.distances import (
    WEIGHTS,
    complex_l1,
    critical_bands,
    distance,
    loudness_l1,
    magnitude,
    magnitude_l1,
    multi_resolution,
    negative_si_sdr,
    waveform_l1,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_complex_l1_is_the_mean_distance():
    estimate = torch.tensor([3 + 4j, 1j]).reshape(1, 1, 2, 1)
    clean = torch.tensor([0j, -1j]).reshape(1, 1, 2, 1)
    assert complex_l1(estimate, clean).item() == pytest.approx((5 + 2) / 2, abs=1e-3)


def test_magnitude_l1_does_not_hear_phase():
    clean = torch.tensor([3 + 4j, 2j]).reshape(1, 1, 2, 1)
    assert magnitude_l1(clean * 1j, clean).item() == pytest.approx(0, abs=1e-6)
    assert magnitude_l1(2 * clean, clean).item() == pytest.approx((5 + 2) / 2, abs=1e-3)


def test_magnitude_has_a_gradient_at_zero():
    x = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    magnitude(x).sum().backward()
    assert x.grad is not None
    assert torch.view_as_real(x.grad).isfinite().all()


def test_si_sdr_by_hand():
    # The error [0, 1] is orthogonal to the target [1, 0]: SI-SDR = 10 log10(4 / 1), bounded softly at 30 dB.
    clean, estimate = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 1.0]]])
    expected = 10 * torch.log10(torch.tensor(4 / (1 + 4e-3)))
    assert -negative_si_sdr(estimate, clean).item() == pytest.approx(expected.item(), abs=1e-3)


def test_si_sdr_ignores_scale_and_stops_at_the_ceiling():
    clean = noise(2, 1, 800)
    estimate = clean + 0.1 * noise(2, 1, 800, seed=1)
    one, ten = negative_si_sdr(estimate, clean), negative_si_sdr(10 * estimate, clean)
    torch.testing.assert_close(one, ten, rtol=1e-4, atol=1e-4)
    assert negative_si_sdr(clean, clean, ceiling_db=30).item() == pytest.approx(-30, abs=0.01)
    assert negative_si_sdr(clean, clean, ceiling_db=20).item() == pytest.approx(-20, abs=0.01)


def test_silent_targets_count_as_zero_in_si_sdr():
    clean, estimate = noise(2, 1, 800), noise(2, 1, 800, seed=1) + noise(2, 1, 800)
    alone = negative_si_sdr(estimate[:1], clean[:1])
    clean[1] = 0
    torch.testing.assert_close(negative_si_sdr(estimate, clean), alone / 2)
    silent = torch.zeros(1, 1, 800)
    made = torch.zeros(1, 1, 800, requires_grad=True)
    loss = negative_si_sdr(made, silent)
    loss.backward()
    assert loss.item() == 0
    assert made.grad is not None
    assert made.grad.isfinite().all()


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_multi_resolution_is_zero_only_at_the_target(length):
    clean = noise(1, 1, length)
    assert multi_resolution(clean, clean).item() == 0
    assert multi_resolution(0.5 * clean, clean).item() > 0
    assert multi_resolution(0.5 * clean, clean) > multi_resolution(0.9 * clean, clean)


def test_multi_resolution_by_hand():
    # A constant far from the edges: |X| of a periodic Hann window is size / 2 at bin 0 and size / 4 at bin 1.
    size = 8
    clean, estimate = torch.ones(1, 1, 8 * size), torch.full((1, 1, 8 * size), 4.0)
    wanted = torch.stft(
        clean[0], size, size // 2, window=torch.hann_window(size), pad_mode="constant", return_complex=True
    )
    expected = ((4 * wanted.abs()).sqrt() - wanted.abs().sqrt()).abs().mean()
    assert multi_resolution(estimate, clean, (size,)).item() == pytest.approx(expected.item(), rel=1e-2)


def test_critical_bands_share_out_every_bin():
    bands = critical_bands(257, 16000)
    assert bands.shape == (42, 257)
    inner = bands.sum(0)[4:220]  # 125 Hz to 6.8 kHz: triangles half a half-width apart add up to two
    torch.testing.assert_close(inner, torch.full_like(inner, 2.0))


def test_loudness_by_hand():
    """Twice the amplitude is 4 ** 0.23 times as loud in every band, and too much counts three times."""
    clean = noise(1, 1, 16000)
    once = loudness_l1(torch.zeros_like(clean), clean, 16000)
    twice = loudness_l1(2 * clean, clean, 16000)
    floor = (1e-5) ** 0.23  # what silence keeps, relative to the mean of all bands
    half = loudness_l1(0.5 * clean, clean, 16000)
    assert (twice / once).item() == pytest.approx(3 * (4**0.23 - 1) / (1 - floor), rel=0.03)
    assert (half / once).item() == pytest.approx((1 - 0.25**0.23) / (1 - floor), rel=0.03)
    assert loudness_l1(clean, clean, 16000).item() == 0
    symmetric = [loudness_l1(k * clean, clean, 16000, excess=1.0) for k in (2, 0.5)]
    torch.testing.assert_close(symmetric, [twice / 3, half])


def test_loudness_weighs_a_low_band_like_a_wide_high_one():
    """One critical band of noise is missing: 200 to 300 Hz weighs as much as 3 to 3.6 kHz, unlike in a spectrogram."""

    def without(low: float, high: float) -> torch.Tensor:
        spectrum = torch.fft.rfft(noise(1, 1, 16000))
        spectrum[..., int(low) : int(high)] = 0
        return torch.fft.irfft(spectrum, 16000)

    clean = noise(1, 1, 16000)
    low, high = without(200, 300), without(3000, 3600)
    assert loudness_l1(low, clean, 16000) > 0.5 * loudness_l1(high, clean, 16000)
    assert multi_resolution(low, clean) < 0.4 * multi_resolution(high, clean)


def test_loudness_has_a_finite_gradient_at_silence():
    for clean in (noise(1, 1, 4000), torch.zeros(1, 1, 4000)):
        estimate = torch.zeros(1, 1, 4000, requires_grad=True)
        loudness_l1(estimate, clean, 16000).backward()
        assert estimate.grad is not None
        assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("term", ["complex", "magnitude", "si_sdr", "resolutions", "loudness", "loudness_symmetric"])
def test_a_weight_scales_its_own_term(term):
    wave, clean = noise(1, 1, 4000), noise(1, 1, 4000, seed=1)
    spectrum, target = (torch.fft.rfft(x.reshape(1, 1, 40, 100)).mT for x in (wave, clean))
    off = dict.fromkeys(WEIGHTS, 0.0) | {"total": 1.0}
    values = [distance(wave, spectrum, clean, target, off | {term: w}, 16000) for w in (1.0, 2.5)]
    assert values[0] != 0
    torch.testing.assert_close(values[1], 2.5 * values[0])


def losses(rate: int = 16000):
    """Every loss, with inputs that autocast would hurt: a loud low band and a faint high one."""
    clean = noise(2, 1, 6000) + 30 * torch.sin(0.02 * torch.arange(6000.0))
    wave = clean + 0.05 * noise(2, 1, 6000, seed=1)
    spectrum, target = (torch.fft.rfft(x.reshape(2, 1, 60, 100)).mT for x in (wave, clean))
    off = dict.fromkeys(WEIGHTS, 0.0) | {"total": 1.0}
    terms = [name for name in WEIGHTS if name not in ("adversary", "total")]
    return {n: lambda n=n: distance(wave, spectrum, clean, target, off | {n: 1.0}, rate) for n in terms} | {
        "all": lambda: distance(wave, spectrum, clean, target, dict.fromkeys(WEIGHTS, 1.0), rate)
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("term", losses())
def test_losses_do_not_depend_on_autocast(term, dtype):
    loss = losses()[term]
    expected = loss()
    with torch.autocast("cpu", dtype):
        found = loss()
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("loss", [negative_si_sdr, multi_resolution, waveform_l1])
def test_waveforms_in_bfloat16_are_measured_in_float32(loss):
    wave, clean = noise(1, 1, 4000).bfloat16(), noise(1, 1, 4000, seed=1)
    torch.testing.assert_close(loss(wave, clean), loss(wave.float(), clean), rtol=0, atol=0)
