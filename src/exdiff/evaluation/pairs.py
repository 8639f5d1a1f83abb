"""DATA on the command line: pairs of a clean signal and its mixture, found in a folder.

Two layouts: `clean/` beside `noisy/` (or the names of VoiceBank-DEMAND) with the same file names in both, and folders
of songs, each with `vocals.*` and `accompaniment.*`, whose sum is the mixture. Not here: MUSDB's stem files.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from exdiff.audio import SUFFIXES, decode
from exdiff.errors import DataError

FOLDERS = (("clean", "noisy"), ("clean_testset_wav", "noisy_testset_wav"))
LAYOUTS = "clean/ and noisy/ with the same file names, or folders of songs with vocals.* and accompaniment.*"


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
        """Itself, once its shapes are checked.

        Raises:
            DataError: clean and mixture differ in shape.
        """
        if self.clean.shape != self.mixture.shape:
            raise DataError(f"{self.name}: clean has shape {self.clean.shape}, mixture {self.mixture.shape}")
        return self


@dataclass(frozen=True)
class PairFiles:
    """One item on disk, read when `load` is called, so that memory does not grow with the number of files."""

    name: str
    clean: Path
    other: Path  # the mixture, or the accompaniment if `additive`
    additive: bool = False

    def load(self) -> Pair:
        """Read both files.

        Raises:
            AudioError: a file cannot be read.
            DataError: the two differ in rate, channels or length; nothing is trimmed or resampled to make them fit.
        """
        (clean, rate), (other, other_rate) = read_audio(self.clean), read_audio(self.other)
        if (clean.shape, rate) != (other.shape, other_rate):
            raise DataError(
                f"{self.name}: {self.clean.name} has shape {clean.shape} at {rate} Hz, {self.other.parent.name}/"
                f"{self.other.name} {other.shape} at {other_rate} Hz; they must agree"
            )
        return Pair(self.name, clean, clean + other if self.additive else other, rate)


class Loadable(Protocol):
    """What an evaluation runs over: `Pair` or `PairFiles`."""

    @property
    def name(self) -> str: ...

    def load(self) -> Pair: ...


def find_pairs(data: Path, limit: int | None = None) -> list[PairFiles]:
    """The pairs in the folder `data`, sorted by name; with `limit`, that many of them, drawn by a fixed seed.

    Raises:
        DataError: no such folder, neither layout, nothing in it, or files without a partner.
    """
    if not data.is_dir():
        raise DataError(f"the data folder {str(data)!r} does not exist")
    for clean, noisy in FOLDERS:
        if (data / clean).is_dir() and (data / noisy).is_dir():
            return _sample(_speech(data / clean, data / noisy), limit)
    songs = _songs(data)
    if not songs:
        stems = any(data.rglob("*.stem.mp4"))
        hint = "; MUSDB stem files cannot be read yet" if stems else ""
        raise DataError(f"no pairs in {str(data)!r}{hint}; it must hold {LAYOUTS}")
    return _sample(songs, limit)


def audio_index(folder: Path) -> dict[str, Path]:
    """Audio files under `folder` by their relative path without the suffix, sorted.

    Raises:
        DataError: two files differ only in the suffix.
    """
    index: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower().lstrip(".") in SUFFIXES and p.is_file()):
        key = path.relative_to(folder).as_posix().removesuffix(path.suffix)
        if key in index:
            raise DataError(f"{str(index[key])!r} and {path.name!r} beside it stand for the same item; keep one")
        index[key] = path
    return index


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Samples (float32, [T] if mono, else [C, T]) and rate (Hz) of a file.

    Raises:
        AudioError: the file cannot be read, or holds no samples or NaN.
    """
    samples, rate = decode(path)
    return (samples[0] if len(samples) == 1 else samples), rate


def _speech(clean: Path, noisy: Path) -> list[PairFiles]:
    references, mixtures = audio_index(clean), audio_index(noisy)
    lonely = sorted(references.keys() ^ mixtures.keys())
    if lonely:
        where = noisy if lonely[0] in references else clean
        raise DataError(
            f"{len(lonely)} files in {str(clean.parent)!r} lack their partner; {lonely[0]!r}, for one, is not in "
            f"{where.name}/"
        )
    if not references:
        raise DataError(f"{str(clean)!r} and {str(noisy)!r} hold no audio files")
    return [PairFiles(name, references[name], mixtures[name]) for name in references]


def _songs(data: Path) -> list[PairFiles]:
    index, songs = audio_index(data), []
    for key, path in index.items():
        song, _, stem = key.rpartition("/")
        if stem != "vocals" or not song:
            continue
        accompaniment = index.get(f"{song}/accompaniment")
        if accompaniment is None:
            raise DataError(f"the song {song!r} in {str(data)!r} has vocals but no accompaniment.*")
        songs.append(PairFiles(song, path, accompaniment, additive=True))
    return songs


def _sample(pairs: Sequence[PairFiles], limit: int | None) -> list[PairFiles]:
    """Drawn: the first few often share a speaker, and every n-th its level of noise. A larger draw holds a smaller."""
    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)
    return [pairs[i] for i in sorted(order[:limit])]
