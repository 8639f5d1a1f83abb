"""The band above the model's, when a recording's rate is above the model's.

A 16 kHz model leaves everything over 8 kHz untouched. Dropping that band dulls the sound, copying it keeps the
noise. So the input's own high band is kept, times what the model did to the octave below it: where the model took
the top of its band away, the band above goes too. The split is complementary (high = input - low, both through the
same resampler), hence aligned in time, with the resampler's slope as cross-over, and exact: a model that changes
nothing gives back the input.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_FRAME_SECONDS = 0.032
_SMOOTHING_FRAMES = 5  # of 16 ms: about 80 ms, longer than a pitch period and shorter than a syllable
_BAND = (0.5, 0.9)  # of the model's Nyquist frequency; the resampler's slope begins above
_FLOOR = 1e-10  # energy a sample, -100 dBFS: digital silence on both sides counts as unchanged


def restore_high_band(original: Tensor, low: Tensor, enhanced: Tensor, sample_rate: int, cutoff: float) -> Tensor:
    """Add the high band of `original` to `enhanced`.

    Args:
        original: float32 [C, T].
        low: the part of `original` in the model's band, brought back to `sample_rate` [C, T].
        enhanced: the model's result, brought back the same way [C, T].
        sample_rate: Hz, of all three.
        cutoff: Hz, where the model's band ends.

    Example:
        >>> x = torch.randn(1, 9600)
        >>> torch.allclose(restore_high_band(x, x * 0.5, x * 0.5, 48000, 8000.0), x, atol=1e-6)
        True
    """
    gain = band_gain(low, enhanced, sample_rate, (_BAND[0] * cutoff, _BAND[1] * cutoff))
    return enhanced + gain * (original - low)


def band_gain(before: Tensor, after: Tensor, sample_rate: int, band: tuple[float, float]) -> Tensor:
    """Amplitude ratio of `after` to `before` within `band` (Hz), smoothed in time, at most 1: float32 [C, T]."""
    frame = 2 * max(2, round(_FRAME_SECONDS * sample_rate / 2))
    energy_before = _smooth(_band_energy(before, sample_rate, band, frame))
    energy_after = _smooth(_band_energy(after, sample_rate, band, frame))
    ratio = ((energy_after + _FLOOR) / (energy_before + _FLOOR)).clamp(max=1.0).sqrt()
    # Linear between the frames' centres, which lie on multiples of the hop.
    hop = frame // 2
    fraction = torch.arange(hop, dtype=torch.float32, device=ratio.device) / hop
    gain = ratio[:, :-1, None] + ratio.diff(dim=-1)[..., None] * fraction
    return gain.reshape(len(ratio), -1)[:, : before.shape[-1]]


def _band_energy(audio: Tensor, sample_rate: int, band: tuple[float, float], frame: int) -> Tensor:
    """Mean energy a sample in each half-overlapping Hann frame, [C, frames]."""
    hop = frame // 2
    frames = audio.shape[-1] // hop + 2
    padded = functional.pad(audio, (hop, frames * hop - audio.shape[-1]))
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    spectrum = torch.fft.rfft(padded.unfold(-1, frame, hop) * torch.from_numpy(window).to(audio.device))
    first, last = (math.ceil(edge * frame / sample_rate) for edge in band)
    chosen = spectrum[..., first : max(last, first + 1)]
    return chosen.abs().square().sum(-1) * (2 / (frame * float((window**2).sum())))


def _smooth(energy: Tensor) -> Tensor:
    """Hann-weighted running mean over frames; the ends use the frames there are."""
    kernel = torch.from_numpy(np.hanning(_SMOOTHING_FRAMES + 2)[1:-1].astype(np.float32)).to(energy.device)

    def weighted(x: Tensor) -> Tensor:
        # Not a convolution or a matrix product: under the caller's autocast either would round to bfloat16.
        reach = _SMOOTHING_FRAMES // 2
        return (functional.pad(x, (reach, reach)).unfold(-1, _SMOOTHING_FRAMES, 1) * kernel).sum(-1)

    return weighted(energy) / weighted(torch.ones_like(energy[:1]))
