"""Shared by all metrics: checks of the input, resampling, and the error for a missing package."""

from __future__ import annotations

import importlib.util

import numpy as np

from exdiff.core.errors import AudioError, ExDiffError

# How to install a package, where it is not the extra `eval`.
REMEDIES = {
    "log_wmse": "pip install 'exdiff[log-wmse]'",
    "wer": "pip install 'exdiff[words]'",
    # Its dependencies need a compiler and are not used here.
    "speaker": "pip install --no-deps resemblyzer",
}


def checked(
    estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, *, channels: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three signals as float64 [T], or with `channels` also [C, T].

    Raises:
        AudioError: a signal has more axes, is empty, differs in shape, or holds NaN or infinite samples.

    Example:
        >>> signal = np.array([0.5, -0.5], dtype=np.float32)
        >>> checked(signal, signal, signal)[0].dtype
        dtype('float64')
    """
    signals = {"estimate": estimate, "clean": clean, "mixture": mixture}
    for name, signal in signals.items():
        if signal.ndim not in ((1, 2) if channels else (1,)) or signal.size == 0:
            form = "samples [T] or [C, T]" if channels else "mono samples [T]"
            raise AudioError(f"the {name} must be {form} with T > 0, got shape {signal.shape}")
        if signal.shape != clean.shape:
            got, wanted = (_size(x) for x in (signal, clean))
            raise AudioError(f"the {name} has {got} samples and the clean signal {wanted}; they must agree")
        if not np.isfinite(signal).all():
            raise AudioError(f"the {name} holds NaN or infinite samples")
    return estimate.astype(np.float64), clean.astype(np.float64), mixture.astype(np.float64)


def _size(signal: np.ndarray) -> str:
    return str(signal.size) if signal.ndim == 1 else " x ".join(map(str, signal.shape))


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
        ExDiffError: a package is missing; the message says how to install it.

    Example:
        >>> require("estoi", ("numpy",))
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        remedy = REMEDIES.get(metric, "pip install 'exdiff[eval]'")
        raise ExDiffError(
            f"the metric {metric!r} needs a package that is not installed ({', '.join(missing)}); "
            f"run {remedy} or leave the metric out"
        )
