"""Scores of one enhanced signal: plain functions with one signature, listed in `METRICS`.

Every function takes `(estimate, clean, mixture, sample_rate)`, mono float arrays [T] of one length, and gives a table
of named values. `nan` means that the score is undefined for this signal (silence, too short), never that the package is
missing: that is an error with the remedy in it. Nothing here reads files or averages over them: that is `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exdiff.metrics.dnsmos import dnsmos
from exdiff.metrics.estoi import estoi
from exdiff.metrics.pesq import pesq
from exdiff.metrics.si_sdr import si_sdr

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]

METRICS: dict[str, Metric] = {"si_sdr": si_sdr, "pesq": pesq, "estoi": estoi, "dnsmos": dnsmos}

# What a metric of the table needs beyond the core, so that a run can stop before hours of work and not after.
PACKAGES: dict[str, tuple[str, ...]] = {"pesq": ("pesq",), "estoi": ("pystoi",), "dnsmos": ("speechmos", "onnxruntime")}

__all__ = ["METRICS", "PACKAGES", "Metric", "dnsmos", "estoi", "pesq", "si_sdr"]
