"""What all metrics share: checked inputs, resampling, and a clear word about a missing package."""

from __future__ import annotations

import importlib.util

import numpy as np

from exdiff.errors import AudioError, ExDiffError


def checked(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three signals as float64 [T], or an error.

    Raises:
        AudioError: not one-dimensional, empty, of different lengths, or with NaN or infinity in it.

    Example:
        >>> signal = np.array([0.5, -0.5], dtype=np.float32)
        >>> checked(signal, signal, signal)[0].dtype
        dtype('float64')
    """
    signals = {"estimate": estimate, "clean": clean, "mixture": mixture}
    for name, signal in signals.items():
        if signal.ndim != 1 or signal.size == 0:
            raise AudioError(f"the {name} must be mono samples [T] with T > 0, got shape {signal.shape}")
        if signal.shape != clean.shape:
            raise AudioError(f"the {name} has {signal.size} samples and the clean signal {clean.size}; they must agree")
        if not np.isfinite(signal).all():
            raise AudioError(f"the {name} holds NaN or infinite samples")
    return estimate.astype(np.float64), clean.astype(np.float64), mixture.astype(np.float64)


def at_rate(signal: np.ndarray, sample_rate: int, wanted: int) -> np.ndarray:
    """`signal` [T] resampled from `sample_rate` to `wanted` Hz.

    Example:
        >>> at_rate(np.zeros(480), 48000, 16000).shape
        (160,)
    """
    if sample_rate == wanted:
        return signal
    import soxr

    return soxr.resample(signal, sample_rate, wanted)


def require(metric: str, packages: tuple[str, ...]) -> None:
    """Raise unless every package that `metric` needs is installed.

    Raises:
        ExDiffError: a package is missing; the message names the extra that brings it.

    Example:
        >>> require("estoi", ("numpy",))
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExDiffError(
            f"the metric {metric!r} needs a package that is not installed ({', '.join(missing)}); "
            "run pip install 'exdiff[eval]' or leave the metric out"
        )
