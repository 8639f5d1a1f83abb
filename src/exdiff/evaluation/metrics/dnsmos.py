"""DNSMOS P.835 (Reddy et al. 2022): quality as listeners would rate it, without a reference.

The network in the package `speechmos` is run directly: that package's own code starts one thread per core, needs
librosa for a score that is not reported here (P.808), and refuses samples beyond +-1.
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
SECONDS = 9.01
WINDOW = 144160  # samples: 9.01 s, what the network takes
# Raw outputs -> MOS, the published polynomials of P.835 (highest power first).
SIG = (-0.08397278, 1.22083953, 0.0052439)
BAK = (-0.13166888, 1.60915514, -0.39604546)
OVRL = (-0.06766283, 1.11546468, 0.04602535)


def dnsmos(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """DNSMOS of `estimate` [T]: overall, signal and background quality, 1 to 5; the mean over windows of 9.01 s.

    A shorter signal is repeated. The score depends on the level, which is kept, but a peak above 1 is scaled to 1
    (clipping would be scored as distortion). `nan` for a silent estimate.

    Args:
        estimate: enhanced signal [T], full scale 1.
        clean: not used; all metrics share one signature.
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; rates other than 16 kHz are resampled.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `speechmos` or `onnxruntime` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> dnsmos(silence, silence, silence, 16000)["dnsmos_ovrl"]
        nan
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    if not estimate.any():
        return {"dnsmos_ovrl": math.nan, "dnsmos_sig": math.nan, "dnsmos_bak": math.nan}
    signal = at_rate(estimate, sample_rate, RATE)
    signal = (signal / max(1.0, float(np.abs(signal).max()))).astype(np.float32)
    raw = np.mean([_mos(window) for window in _windows(signal)], axis=0)
    return {"dnsmos_ovrl": float(raw[0]), "dnsmos_sig": float(raw[1]), "dnsmos_bak": float(raw[2])}


def _windows(signal: np.ndarray) -> list[np.ndarray]:
    while len(signal) < WINDOW:  # doubled, as in the published script
        signal = np.concatenate([signal, signal])
    # Count and rounding of the published script, which skips some windows, so that scores are comparable.
    count = int(len(signal) // RATE - SECONDS) + 1
    windows = [signal[i * RATE : int((i + SECONDS) * RATE)] for i in range(count)]
    return [window for window in windows if len(window) == WINDOW]


def _mos(window: np.ndarray) -> tuple[float, float, float]:
    sig, bak, ovrl = _session().run(None, {"input_1": window[None]})[0][0]
    return float(np.polyval(OVRL, ovrl)), float(np.polyval(SIG, sig)), float(np.polyval(BAK, bak))


@functools.cache
def _session() -> Any:
    """The network, loaded once per process, on one thread: work is parallel over files."""
    require("dnsmos", ("speechmos", "onnxruntime"))
    import onnxruntime

    spec = importlib.util.find_spec("speechmos")
    assert spec is not None and spec.origin is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(spec.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
