"""Playback at another speed against tones of known pitch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.data.mixing.playback import Playback, frames_needed

CPU = torch.device("cpu")


def sine(pitch, length):
    """A tone at `pitch` times half the sample rate."""
    return torch.sin(torch.arange(length, dtype=torch.float64) * (np.pi * pitch)).float()


@pytest.mark.parametrize("speed", [0.5, 0.86, 1.0, 1.16, 1.5])
@pytest.mark.parametrize("pitch", [0.05, 0.3])
def test_a_tone_changes_its_pitch(speed, pitch):
    made = Playback(np.array([speed]), 4000, CPU)(sine(pitch, frames_needed(4000, speed))[None, None])[0, 0]
    error = (made - sine(speed * pitch, 4000))[16:]
    assert float(error.square().mean().sqrt()) < 2e-3 * 0.7, "-54 dB"


def test_at_its_own_speed_a_signal_stays():
    x = torch.randn(1, 2, frames_needed(500, 1), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(Playback(np.array([1.0]), 500, CPU)(x), x[..., :500], atol=1e-5)


def test_what_would_be_above_half_the_rate_is_filtered_out():
    made = Playback(np.array([1.5]), 4000, CPU)(sine(0.9, frames_needed(4000, 1.5))[None, None])
    assert float(made[..., 16:].abs().max()) < 0.02


def test_every_row_has_its_speed_and_channels_share_it():
    x = torch.randn(3, 2, frames_needed(300, 1.2), generator=torch.Generator().manual_seed(0))
    speeds = np.array([0.8, 1.0, 1.2])
    together = Playback(speeds, 300, CPU)(x)
    for row in range(3):
        alone = Playback(speeds[row : row + 1], 300, CPU)
        np.testing.assert_allclose(together[row], alone(x[row : row + 1])[0], atol=1e-6)
        np.testing.assert_allclose(together[row, 1:], alone(x[row : row + 1, 1:])[0], atol=1e-6)


def test_places_stay_exact_far_from_the_start():
    """In float32 a place after a million samples would be a sixteenth of a sample wrong."""
    length = 1_000_000
    made = Playback(np.array([1.0625]), length, CPU)(sine(0.2, frames_needed(length, 1.0625))[None, None])[0, 0]
    error = made[-1000:] - sine(0.2125, length)[-1000:]
    assert float(error.abs().max()) < 2e-3
