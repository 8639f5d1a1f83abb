"""The band that the model cannot hear, when a recording's rate is above the model's.

A 16 kHz model leaves everything over 8 kHz untouched. Dropping that band dulls the sound, copying it keeps the
noise. So the input's own high band is kept, times what the model did to the octave below it: where the model took
the top of its band away, the band above goes too. The split is complementary (high = input - low, both through the
same resampler), hence aligned in time, with the resampler's slope as cross-over, and exact: a model that changes
nothing gives back the input.
"""

from __future__ import annotations

import numpy as np

_FRAME_SECONDS = 0.032
_SMOOTHING_FRAMES = 5  # of 16 ms: about 80 ms, longer than a pitch period and shorter than a syllable
_BAND = (0.5, 0.9)  # of the model's Nyquist frequency; the resampler's slope begins above
_FLOOR = 1e-10  # energy a sample, -100 dBFS: digital silence on both sides counts as unchanged


def extend(original: np.ndarray, low: np.ndarray, enhanced: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """Add the high band of `original` to `enhanced`.

    Args:
        original: float32 [C, T].
        low: the band of `original` that the model heard, brought back to `sample_rate` [C, T].
        enhanced: what the model made of it, brought back the same way [C, T].
        sample_rate: Hz, of all three.
        cutoff: Hz, where the model's band ends.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((1, 9600)).astype(np.float32)
        >>> bool(np.allclose(extend(x, x * 0.5, x * 0.5, 48000, 8000.0), x, atol=1e-6))
        True
    """
    gain = band_gain(low, enhanced, sample_rate, (_BAND[0] * cutoff, _BAND[1] * cutoff))
    return enhanced + gain * (original - low)


def band_gain(before: np.ndarray, after: np.ndarray, sample_rate: int, band: tuple[float, float]) -> np.ndarray:
    """Amplitude ratio of `after` to `before` within `band` (Hz), smoothed in time, at most 1: float32 [C, T]."""
    frame = 2 * max(2, round(_FRAME_SECONDS * sample_rate / 2))
    energy_before = _smooth(_band_energy(before, sample_rate, band, frame))
    energy_after = _smooth(_band_energy(after, sample_rate, band, frame))
    ratio = np.sqrt(np.minimum(1.0, (energy_after + _FLOOR) / (energy_before + _FLOOR)))
    # Frames are centred on multiples of the hop.
    centres = np.arange(ratio.shape[-1]) * (frame // 2)
    samples = np.arange(before.shape[-1])
    return np.stack([np.interp(samples, centres, row) for row in ratio]).astype(np.float32)


def _band_energy(audio: np.ndarray, sample_rate: int, band: tuple[float, float], frame: int) -> np.ndarray:
    """Mean energy a sample in each half-overlapping Hann frame, [C, frames]."""
    hop = frame // 2
    frames = audio.shape[-1] // hop + 2
    padded = np.pad(audio, ((0, 0), (hop, frames * hop - audio.shape[-1])))
    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(padded, frame, axis=-1)[:, ::hop]
    spectrum = np.fft.rfft(views * window, axis=-1)
    edges = np.ceil(np.array(band) * frame / sample_rate).astype(int)
    chosen = spectrum[..., edges[0] : max(edges[1], edges[0] + 1)]
    power = chosen.real.astype(np.float64) ** 2 + chosen.imag.astype(np.float64) ** 2
    return power.sum(-1) * 2 / (frame * float((window**2).sum()))


def _smooth(energy: np.ndarray) -> np.ndarray:
    """Hann-weighted running mean over frames; the ends use the frames there are."""
    kernel = np.hanning(_SMOOTHING_FRAMES + 2)[1:-1]
    middle = slice(_SMOOTHING_FRAMES // 2, _SMOOTHING_FRAMES // 2 + energy.shape[-1])
    weight = np.convolve(np.ones(energy.shape[-1]), kernel)[middle]
    return np.stack([np.convolve(row, kernel)[middle] for row in energy]) / weight
