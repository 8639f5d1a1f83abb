"""Level scaling: what it promises for the loudness, at the edges, and for windows cut out of a longer signal."""

from __future__ import annotations

import pytest
import torch

from exdiff.model.transforms.levels import CONTEXT_SECONDS, LEVELS, local, peak

RATE = 1600  # Hz: a multiple of 100, as real rates are, and quick


def swelling(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise [1, 1, T] whose level wanders over 40 dB."""
    length = round(seconds * RATE)
    noise = torch.randn(1, 1, length, generator=torch.Generator().manual_seed(seed))
    return noise * 10 ** (torch.sin(torch.arange(length) / RATE * 1.7) - 1.5)


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 159, 1601, 4799])
def test_division_undoes_the_gain(level, length):
    wave = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length))
    gain = level(wave, RATE)
    assert gain.shape in ((2, 1, length), (2, 1, 1))
    torch.testing.assert_close(wave * gain / gain, wave)


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_silence_stays_silence_and_does_not_explode(level):
    gain = level(torch.zeros(1, 1, 4000), RATE)
    assert gain.isfinite().all()
    assert (gain > 0).all()
    assert gain.max() <= 1001  # 60 dB: from -80 dBFS to 0.1


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_a_recording_ten_times_as_loud_looks_the_same(level):
    wave = swelling(4)
    torch.testing.assert_close(10 * wave * level(10 * wave, RATE), wave * level(wave, RATE), rtol=2e-3, atol=1e-4)


def test_local_brings_a_steady_signal_to_a_tenth():
    wave = 0.3 * torch.randn(1, 2, 6 * RATE, generator=torch.Generator().manual_seed(0))
    scaled = wave * local(wave, RATE)
    assert scaled.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.02)


def test_local_follows_a_change_of_level():
    wave = torch.cat([torch.full((1, 1, 4 * RATE), 0.5), torch.full((1, 1, 4 * RATE), 0.05)], -1)
    gain = local(wave, RATE)[0, 0]
    assert gain[RATE] == pytest.approx(0.2, rel=1e-3)
    assert gain[7 * RATE] == pytest.approx(2, rel=1e-3)
    assert (gain.diff() >= -1e-4).all(), "from loud to quiet, the gain only rises"
    assert (gain.diff() / gain[1:]).abs().max() < 0.05, "and without a step"


@pytest.mark.parametrize("first", [1, 2, 5])
@pytest.mark.parametrize("seconds", [1, 2])
def test_local_needs_one_second_of_context(first, seconds):
    whole = swelling(9)
    margin = round(CONTEXT_SECONDS * RATE)
    begin, end = first * RATE, (first + seconds) * RATE
    gain = local(whole[..., begin - margin : end + margin], RATE)[..., margin:-margin]
    torch.testing.assert_close(gain, local(whole, RATE)[..., begin:end], rtol=1e-5, atol=0)


def test_local_does_use_its_context():
    whole = swelling(5)
    changed = whole.clone()
    changed[..., : round(1.05 * RATE)] *= 100
    before, after = (local(x, RATE)[..., 2 * RATE] for x in (whole, changed))
    assert not torch.allclose(before, after, rtol=1e-2)


def test_peak_brings_the_largest_sample_of_any_channel_to_one():
    wave = torch.tensor([[[0.1, -0.2], [0.5, 0.3]], [[4.0, 0.0], [0.0, 0.0]]])
    assert (wave * peak(wave, RATE)).abs().amax((1, 2)).tolist() == [1.0, 1.0]
    assert peak(torch.zeros(1, 1, 3), RATE).item() == 1.0
