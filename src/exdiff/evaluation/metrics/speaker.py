"""Speaker similarity: is it still the same voice? With the embedding of the package `resemblyzer` (Wan et al. 2018).

Only the weights in that package are read, with `weights_only=True`: its own code needs a voice-activity detector built
from C source. So pauses are not removed here, from either signal.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.evaluation.metrics.signals import at_rate, checked, require

RATE = 16000  # Hz
FFT, HOP, BANDS = 400, 160, 40  # samples: 25 and 10 ms; mel bands
FRAMES, STEP = 160, 77  # frames in a partial utterance of 1.6 s, and from one to the next: 1.3 per second
LEVEL_DB = -30.0  # level of every signal; the package only raises it, so that its embeddings depend on the level


def speaker(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Cosine between the speaker embeddings of `estimate` [T] and `clean` [T]: 1 is the same voice.

    Embeddings are positive, so unrelated voices have 0.5 to 0.7, not 0. `nan` if one of the two is silent.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T].
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; rates other than 16 kHz are resampled.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `resemblyzer` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> speaker(silence, silence, silence, 16000)
        {'speaker': nan}
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    if not clean.any() or not estimate.any():
        return {"speaker": math.nan}
    require("speaker", ("resemblyzer",))
    voices = [embedding(at_rate(signal, sample_rate, RATE)) for signal in (estimate, clean)]
    return {"speaker": float(np.dot(*voices))}


def embedding(signal: np.ndarray) -> np.ndarray:
    """The unit vector [256] of a voice at 16 kHz: the mean over partial utterances of 1.6 s."""
    import torch

    level = 20 * math.log10(float(np.sqrt(np.mean(signal**2))))
    signal = signal * 10 ** ((LEVEL_DB - level) / 20)
    starts = _starts(len(signal))
    needed = (starts[-1] + FRAMES) * HOP
    mel = mel_spectrogram(np.pad(signal, (0, max(0, needed - len(signal)))))
    parts = torch.from_numpy(np.stack([mel[start : start + FRAMES] for start in starts]))
    lstm, linear = _network()
    with torch.inference_mode():
        _, (hidden, _) = lstm(parts)
        voices = torch.relu(linear(hidden[-1]))
        voice = (voices / voices.norm(dim=1, keepdim=True)).mean(0)
        return (voice / voice.norm()).numpy()


def mel_spectrogram(signal: np.ndarray) -> np.ndarray:
    """Mel energies [frames, 40] of a signal at 16 kHz, not logarithmic: centred Hann windows of 25 ms, Slaney's bands.

    Example:
        >>> mel_spectrogram(np.zeros(1600)).shape
        (11, 40)
    """
    padded = np.pad(signal, FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    return (np.abs(np.fft.rfft(frames * window)) ** 2 @ _bands().T).astype(np.float32)


@functools.cache
def _bands() -> np.ndarray:
    """Triangles of unit area [40, 201] on Slaney's scale: linear to 1 kHz, 27 steps to each factor of 6.4 above."""
    top = 15 + 27 * math.log(RATE / 2 / 1000) / math.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)).clip(0)
    return triangles * 2 / (high - low)


def _starts(samples: int) -> list[int]:
    """First frames of the partial utterances; the last is skipped if less than three quarters of it are signal."""
    frames = math.ceil((samples + 1) / HOP)
    starts = list(range(0, max(1, frames - FRAMES + STEP + 1), STEP))
    covered = (samples / HOP - starts[-1]) / FRAMES
    return starts[:-1] if covered < 0.75 and len(starts) > 1 else starts


@functools.cache
def _network() -> tuple[Any, Any]:
    """Three recurrent layers and one linear, with the published weights."""
    import torch
    from torch import nn

    spec = importlib.util.find_spec("resemblyzer")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "pretrained.pt"
    weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = nn.LSTM(BANDS, 256, 3, batch_first=True), nn.Linear(256, 256)
    for name, module in (("lstm.", lstm), ("linear.", linear)):
        module.load_state_dict({k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)})
    return lstm.eval(), linear.eval()
