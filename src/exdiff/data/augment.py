"""What happens to sound between the mouth and the file: rooms, equalisers, band limits, clipping.

Signals are float32 arrays [T]. Random functions take a numpy generator, so that an example is a function of (seed,
index) alone.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def rms(x: Array) -> float:
    """Root mean square level, never zero."""
    return float(np.sqrt(np.mean(np.square(x), dtype=np.float64) + 1e-12))


def convolve(x: Array, kernel: Array) -> Array:
    """Causal convolution cut to the length of `x`."""
    size = 1 << (len(x) + len(kernel) - 2).bit_length()
    spectrum = np.fft.rfft(x, size) * np.fft.rfft(kernel, size)
    return np.fft.irfft(spectrum, size)[: len(x)].astype(np.float32)


def room(x: Array, impulse: Array, sample_rate: int, *, early_seconds: float = 0.05) -> tuple[Array, Array]:
    """(reverberant, target): the target keeps the direct sound and the early reflections, which help intelligibility.

    The impulse response is shifted so that its direct sound is at time zero: the target stays aligned.
    """
    impulse = impulse[int(np.argmax(np.abs(impulse))) :]
    impulse = impulse / max(float(np.abs(impulse[0])), 1e-6)
    early = impulse[: int(early_seconds * sample_rate)].copy()
    early *= np.minimum(1.0, np.linspace(4.0, 0.0, len(early)))  # flat, then faded: a hard cut would ring
    return convolve(x, impulse), convolve(x, early.astype(np.float32))


def equalise(x: Array, rng: np.random.Generator, sample_rate: int, *, range_db: float = 6.0, points: int = 6) -> Array:
    """A smooth random gain over frequency (log-spaced control points), like another microphone or loudspeaker."""
    spectrum = np.fft.rfft(x)
    frequency = np.linspace(0, sample_rate / 2, spectrum.shape[-1])
    knots = np.geomspace(60, sample_rate / 2, points)
    gain_db = np.interp(np.log(np.maximum(frequency, 30)), np.log(knots), rng.uniform(-range_db, range_db, points))
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), x.shape[-1]).astype(np.float32)


def band_limit(x: Array, cutoff_hz: float, sample_rate: int) -> Array:
    """Nothing above `cutoff_hz`, with a roll-off over a tenth of it, as in old codecs and telephones."""
    spectrum = np.fft.rfft(x)
    frequency = np.linspace(0, sample_rate / 2, len(spectrum))
    gain = np.clip((cutoff_hz - frequency) / (0.1 * cutoff_hz) + 1, 0, 1)
    return np.fft.irfft(spectrum * gain, len(x)).astype(np.float32)


def clip_peaks(x: Array, fraction: float) -> Array:
    """Hard clipping at `fraction` of the peak."""
    limit = fraction * float(np.abs(x).max(initial=0.0))
    return np.clip(x, -limit, limit) if limit > 0 else x


def pan(x: Array, position: float) -> Array:
    """A mono signal [T] at a position in the stereo image, [2, T]: -1 left, 0 middle, 1 right, at constant power."""
    angle = (position + 1) * np.pi / 4
    return (np.sqrt(2) * np.stack([np.cos(angle) * x, np.sin(angle) * x])).astype(np.float32)


def widen(x: Array, rng: np.random.Generator, sample_rate: int) -> Array:
    """A mono signal [T] made wide, [2, T]: a delayed copy is added left and subtracted right, so that the mean is x."""
    delay = int(rng.uniform(0.005, 0.025) * sample_rate)
    side = np.zeros_like(x)
    side[delay:] = x[: len(x) - delay] * rng.uniform(0.3, 0.8)
    return np.stack([x + side, x - side]).astype(np.float32)


def spread(x: Array, rng: np.random.Generator, sample_rate: int) -> Array:
    """Stereo [2, T] made wide as producers do with a voice: each channel gets its own short delay and reverberation."""
    size = int(rng.uniform(0.3, 1.5) * sample_rate)  # T60 of the reverberation
    kernels = rng.normal(size=(2, size)) * 10 ** (-3 * np.arange(size) / size)
    kernels *= 10 ** (rng.uniform(-24, -6) / 20) / np.linalg.norm(kernels, axis=1, keepdims=True)
    kernels[:, 0] += 1
    for kernel in kernels:
        kernel[int(rng.uniform(0.008, 0.03) * sample_rate)] += rng.uniform(0, 0.9)
    return np.stack([convolve(channel, kernel) for channel, kernel in zip(x, kernels, strict=True)])
