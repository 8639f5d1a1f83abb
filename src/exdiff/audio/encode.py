"""Write a whole sound in one call."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from exdiff.audio.writing.writer import AudioWriter
from exdiff.core.errors import AudioError

__all__ = ["AudioWriter", "clipping_message", "encode"]


def encode(
    path: str | os.PathLike[str],
    audio: np.ndarray,
    sample_rate: int,
    *,
    format: str | None = None,
    source_subtype: str = "",
) -> None:
    """Write float32 [T] or [C, T]; for the arguments see `AudioWriter`. Warns if an integer format clipped samples.

    Raises:
        AudioError: see `AudioWriter`; or the samples are not finite.
    """
    audio = np.atleast_2d(audio)
    if not np.isfinite(audio).all():
        raise AudioError(f"cannot write {Path(path).name}: the samples hold NaN or infinite values")
    with AudioWriter(
        path, sample_rate, audio.shape[0], format=format, source_subtype=source_subtype, frames=audio.shape[-1]
    ) as writer:
        writer.write(audio)
    if writer.clipped:
        warnings.warn(clipping_message(writer), stacklevel=2)


def clipping_message(writer: AudioWriter) -> str:
    """One line about the samples that `writer` clipped."""
    return (
        f"{writer.path}: {writer.clipped} samples beyond full scale were clipped; "
        "lower the input's level, or use a float WAV"
    )
