"""logWMSE, with the package `log-wmse-audio-quality`: defined even where the clean signal is silent."""

from __future__ import annotations

import math

import numpy as np

from exdiff.evaluation.metrics.signals import checked, require


def log_wmse(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Minus four times the logarithm of the error's energy, frequency-weighted like hearing, relative to the mixture.

    About 74 is no audible error, 0 an error as strong as the mixture itself. Unlike ratios to the clean signal it shows
    how well a passage without speech was silenced. It depends on the level. `nan` only if the mixture is silent.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T], which may be silent.
        mixture: reference plus noise [T].
        sample_rate: Hz; the package resamples rates other than 44.1 kHz.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `log-wmse-audio-quality` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> log_wmse(silence, silence, silence, 16000)
        {'log_wmse': nan}
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    if not mixture.any():
        return {"log_wmse": math.nan}
    require("log_wmse", ("log_wmse_audio_quality",))
    from log_wmse_audio_quality import calculate_log_wmse  # pyright: ignore[reportMissingImports]

    return {"log_wmse": float(calculate_log_wmse(mixture, estimate, clean, sample_rate))}
