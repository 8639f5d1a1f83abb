"""The rivals without weights: classical signal processing, the baseline that a network should beat."""

from __future__ import annotations

import importlib
import subprocess

import numpy as np
from frames import Process, framewise, from_pcm, istft, stft, to_pcm

RATE = 16000  # Hz, for all of them


def ffmpeg() -> Process:
    """FFmpeg's filter `afftdn`, spectral denoising with noise tracking."""
    stream = ["-f", "f32le", "-ar", str(RATE), "-ac", "1"]
    command = ["ffmpeg", "-v", "error", *stream, "-i", "pipe:0", "-af", "afftdn=nr=20:nf=-30:tn=1", *stream, "pipe:1"]

    def process(wave: np.ndarray) -> np.ndarray:
        done = subprocess.run(command, input=wave.astype("<f4").tobytes(), capture_output=True, check=True)
        return np.frombuffer(done.stdout, "<f4")

    return process


def hpss() -> Process:
    """Harmonic-percussive separation."""
    denoiser = importlib.import_module("hpss_denoiser").HPSSDenoiser()
    return lambda wave: from_pcm(denoiser.process(to_pcm(wave).tobytes()))


def logmmse() -> Process:
    """Minimum mean-square error estimation of the log-spectral amplitude (Ephraim and Malah 1985)."""
    with np.errstate():  # the import turns numpy's underflows into errors; restore the setting afterwards
        enhance = importlib.import_module("logmmse").logmmse
    return lambda wave: from_pcm(np.asarray(enhance(to_pcm(wave), RATE, output_file=None)))


def noisereduce() -> Process:
    """Spectral gating with adaptive thresholds."""
    reduce = importlib.import_module("noisereduce").reduce_noise
    return lambda wave: reduce(y=wave, sr=RATE, stationary=False)


def speexdsp() -> Process:
    """The preprocessor of the Speex codec."""
    size = 256
    suppressor = importlib.import_module("speexdsp_ns").NoiseSuppression.create(size, RATE)
    return framewise(lambda frame: from_pcm(suppressor.process(to_pcm(frame).tobytes())), size)


def webrtc() -> Process:
    """WebRTC's noise suppression at its highest level."""
    processor = importlib.import_module("webrtc_noise_gain").AudioProcessor(0, 4)
    return framewise(lambda frame: from_pcm(processor.Process10ms(to_pcm(frame).tobytes()).audio), RATE // 100)


def wiener() -> Process:
    """Our own decision-directed Wiener filter; the noise is tracked by the minimum of the smoothed power over 1.2 s."""

    def process(wave: np.ndarray) -> np.ndarray:
        spectra = stft(wave, 512, 128)
        power = np.abs(spectra) ** 2
        smooth = power.copy()
        for t in range(1, len(power)):
            smooth[t] = 0.85 * smooth[t - 1] + 0.15 * power[t]
        reach = round(1.2 * RATE / 128)
        noise = 1.8 * np.array([smooth[max(0, t - reach) : t + reach + 1].min(0) for t in range(len(power))]) + 1e-12
        gain, kept = np.empty_like(power), np.zeros(power.shape[1])
        for t in range(len(power)):
            ratio = np.maximum(0.98 * kept / noise[t] + 0.02 * np.maximum(power[t] / noise[t] - 1, 0), 10**-2.5)
            gain[t] = ratio / (1 + ratio)
            kept = gain[t] ** 2 * power[t]
        return istft(spectra * gain, 512, 128, len(wave))

    return process
