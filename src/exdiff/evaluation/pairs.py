"""DATA on the command line: pairs of a clean signal and its mixture, found in a folder (see `exdiff.data.layouts`).

The mixture is the noisy file in paired folders, and the sum of the stems in folders of songs. For MUSDB18 and
MUSDB18-HQ it is the data set's own, as in `musdb` and `museval`, on which published scores are computed: in MUSDB18 it
was AAC-encoded separately and is not quite the sum of the stems.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from exdiff.audio import decode
from exdiff.core.errors import DataError
from exdiff.data.layouts import Item, audio_index, find_items


@dataclass(frozen=True)
class Pair:
    """One item in memory: `clean` and `mixture`, float arrays [T] or [C, T] of one shape.

    Example:
        >>> Pair("silence", np.zeros(4), np.zeros(4), 16000).load().name
        'silence'
    """

    name: str
    clean: np.ndarray
    mixture: np.ndarray
    sample_rate: int  # Hz

    def load(self) -> Pair:
        """Itself, if the shapes agree.

        Raises:
            DataError: clean and mixture differ in shape.
        """
        if self.clean.shape != self.mixture.shape:
            raise DataError(f"{self.name}: clean has shape {self.clean.shape}, mixture {self.mixture.shape}")
        return self


@dataclass(frozen=True)
class PairFiles:
    """One item on disk. `load` reads it, so that memory does not grow with the number of files."""

    item: Item

    @property
    def name(self) -> str:
        """The item's path below the data set, without the suffix."""
        return self.item.name

    def load(self) -> Pair:
        """Read the target and the mixture: the data set's own if it has one, else the sum of all stems.

        Raises:
            AudioError: a file cannot be read.
            DataError: they differ in rate, channels or length (nothing is trimmed or resampled).
        """
        target, mixture = self.item.target, self.item.mixture
        clean, rate = read_audio(target.path, target.stream)
        total = None if mixture else clean
        for source in [mixture] if mixture else self.item.rest:
            other, other_rate = read_audio(source.path, source.stream)
            if (clean.shape, rate) != (other.shape, other_rate):
                raise DataError(
                    f"{self.name}: {target.path.name} has shape {clean.shape} at {rate} Hz, {source.path.parent.name}/"
                    f"{source.path.name} {other.shape} at {other_rate} Hz; they must agree"
                )
            total = other if total is None else total + other
        assert total is not None
        return Pair(self.name, clean, total, rate)


class Loadable(Protocol):
    """`Pair` or `PairFiles`."""

    @property
    def name(self) -> str: ...

    def load(self) -> Pair: ...


def find_pairs(data: Path, limit: int | None = None) -> list[PairFiles]:
    """The pairs in the folder `data`, sorted by name; with `limit`, that many of them, drawn by a fixed seed.

    If the data set has a test set, only that is taken.

    Raises:
        DataError: no such folder, no known layout, nothing in it, or files without a partner.
    """
    return _sample([PairFiles(item) for item in find_items(data, "test", or_any=True)], limit)


def read_audio(path: Path, stream: int = 0) -> tuple[np.ndarray, int]:
    """Samples (float32, [T] if mono, else [C, T]) and rate (Hz) of a file, or of one stream of it.

    Raises:
        AudioError: the file cannot be read, or holds no samples or NaN.
    """
    samples, rate = decode(path, stream)
    return (samples[0] if len(samples) == 1 else samples), rate


def _sample(pairs: Sequence[PairFiles], limit: int | None) -> list[PairFiles]:
    """Drawn: the first few often share a speaker, every n-th the noise level. Larger draws contain smaller ones."""
    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)
    return [pairs[i] for i in sorted(order[:limit])]


__all__ = ["Loadable", "Pair", "PairFiles", "audio_index", "find_pairs", "read_audio"]
