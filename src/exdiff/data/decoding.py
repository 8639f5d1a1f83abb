"""Decode many clips into a `ClipCache` folder, in several threads, and resume after an interruption.

Clips are decoded in parts of about sixteen. A finished part is a file `parts-RATE-mono/HASH.i16` (or `-stereo`) with a
table `HASH.json`, and is kept until all parts of a selection are complete and have been joined. The hash of a part
depends only on its clips, and where a part ends depends on the hash of its last clip: after one file of a data set was
repaired or removed, only its part is decoded again. Processes that build the same cache, such as the ranks of a run,
share their parts.

Threads suffice: libsndfile, FFmpeg, soxr and numpy release Python's global lock while they work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.audio import decode, decode_mono, resample
from exdiff.core.errors import AudioError, DataError
from exdiff.core.progress import track
from exdiff.data.clips import Clip

COLUMNS = ("starts", "lengths", "channels", "gains", "levels")  # of index.json: one number a clip
_MOST_THREADS = 8  # each holds one decoded clip in memory, which may be a whole song
_CLIPS_A_PART = 16  # on average
_PART_BYTES = 1 << 26  # of encoded files; a part ends here at the latest
_SHOWN = 20  # files in a message


def build(clips: Sequence[Clip], keys: Sequence[str], folder: Path, sample_rate: int, mono: bool) -> None:
    """Decode `clips` and write `audio.i16` and `index.json` into `folder`.

    Args:
        clips: in the order of the index.
        keys: text that identifies the content of each.
        folder: of the cache; parts are kept beside it.
        sample_rate: Hz.
        mono: mix every clip down.

    Raises:
        DataError: some clips cannot be decoded (all are named), or the folder cannot be written.
    """
    store = folder.with_name(f"parts-{sample_rate}-{'mono' if mono else 'stereo'}")
    parts = [_Part(clips, keys, numbers, store) for numbers in _divide(clips, keys)]
    try:
        while not (folder / "index.json").is_file():
            with contextlib.suppress(FileNotFoundError):  # another process has just joined and removed these parts
                for place in (folder, store):
                    place.mkdir(parents=True, exist_ok=True)
                _decode_parts(parts, folder, sample_rate, mono)
                _join(parts, folder)
    except OSError as error:
        raise DataError(
            f"cannot write the cache of decoded clips {str(folder)!r}: {error.strerror or error}; "
            "free some space, or set EXDIFF_CACHE to another folder"
        ) from error
    for part in parts:
        part.remove()
    with contextlib.suppress(OSError):  # it holds parts of another selection
        store.rmdir()


@dataclass
class _Part:
    """Some clips of a selection that are decoded into one file."""

    clips: Sequence[Clip]  # of the whole selection
    keys: Sequence[str]
    numbers: Sequence[int]  # of the clips in this part
    store: Path
    audio: Path = field(init=False)
    table: Path = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256("".join(self.keys[n] for n in self.numbers).encode()).hexdigest()[:24]
        self.audio, self.table = self.store / f"{digest}.i16", self.store / f"{digest}.json"

    def is_complete(self) -> bool:
        """Whether both files are there and whole, which a power failure may prevent."""
        try:
            return self.audio.stat().st_size == 2 * json.loads(self.table.read_text(encoding="utf-8"))["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def remove(self) -> None:
        for path in (self.table, self.audio):
            path.unlink(missing_ok=True)


def _divide(clips: Sequence[Clip], keys: Sequence[str]) -> Iterator[list[int]]:
    """The clip numbers of each part; see the head of this module."""
    numbers: list[int] = []
    size = 0
    for number, key in enumerate(keys):
        numbers.append(number)
        size += clips[number].path.stat().st_size if clips[number].path.is_file() else 0
        if hashlib.sha256(key.encode()).digest()[0] % _CLIPS_A_PART == 0 or size > _PART_BYTES:
            yield numbers
            numbers, size = [], 0
    if numbers:
        yield numbers


def _decode_parts(parts: Sequence[_Part], folder: Path, sample_rate: int, mono: bool) -> None:
    """Make every part that is not complete yet."""
    stop = threading.Event()

    def work(part: _Part) -> list[str]:
        if part.is_complete() or (folder / "index.json").is_file():
            return []
        return _decode_part(part, sample_rate, mono, stop)

    order = list(parts)
    random.Random(os.getpid()).shuffle(order)  # so that several processes rarely decode the same part
    faults: list[str] = []
    clips = order[0].clips if order else []

    def decoded(pool: ThreadPoolExecutor) -> Iterator[int]:
        """One number a clip, when its part is finished."""
        for part, found in zip(order, pool.map(work, order), strict=True):
            faults.extend(found)
            yield from part.numbers

    with ThreadPoolExecutor(_threads()) as pool:
        try:
            for _ in track(decoded(pool), "decoding clips", total=len(clips)):
                pass
        finally:
            stop.set()
    if faults:
        raise DataError(_describe(sorted(faults), len(clips), folder))


def _decode_part(part: _Part, sample_rate: int, mono: bool, stop: threading.Event) -> list[str]:
    """Write one part if all of its clips can be decoded; the errors of those that cannot."""
    faults: list[str] = []
    table: dict[str, list[float]] = {name: [] for name in COLUMNS}
    total = 0
    temporary = part.audio.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as out:
            for number in part.numbers:
                if stop.is_set():
                    return []
                try:
                    samples, gain, level = decode_clip(part.clips[number], sample_rate, mono)
                except DataError as error:
                    faults.append(str(error))
                    continue
                out.write(samples.T.tobytes())
                row = (total, samples.shape[-1], len(samples), gain, level)
                for name, value in zip(COLUMNS, row, strict=True):
                    table[name].append(value)
                total += samples.size
        if not faults:
            temporary.replace(part.audio)
            _write_json(part.table, {**table, "total": total})
    finally:
        temporary.unlink(missing_ok=True)
    return faults


def _join(parts: Sequence[_Part], folder: Path) -> None:
    """Join all parts, in order, into one file and one table."""
    temporary = folder / f"audio.{os.getpid()}.tmp"
    index: dict[str, list[float]] = {name: [] for name in COLUMNS}
    total = 0
    try:
        with temporary.open("wb") as out:
            for part in parts:
                table = json.loads(part.table.read_text(encoding="utf-8"))
                table["starts"] = [start + total for start in table["starts"]]
                for name in COLUMNS:
                    index[name] += table[name]
                with part.audio.open("rb") as audio:
                    shutil.copyfileobj(audio, out, 1 << 22)
                total += table["total"]
        temporary.replace(folder / "audio.i16")
    finally:
        temporary.unlink(missing_ok=True)
    _write_json(folder / "index.json", {**index, "total": total})


def decode_clip(clip: Clip, sample_rate: int, mono: bool) -> tuple[np.ndarray, float, float]:
    """Decode one clip to the form that the cache stores.

    Returns:
        int16 samples [C, T]; the gain that restores their scale; the RMS level of the restored clip.

    Raises:
        DataError: it cannot be decoded, or holds no samples.
    """
    try:
        if mono:
            audio = decode_mono(clip.path, sample_rate, clip.stream)[None]
        else:
            audio, rate = decode(clip.path, clip.stream)
            audio = resample(audio if len(audio) <= 2 else audio.mean(axis=0, keepdims=True), rate, sample_rate)
    except AudioError as error:
        raise DataError(str(error)) from error
    if not audio.shape[-1]:
        raise DataError(f"{clip.path}: holds no samples")
    # Float files and resampling may exceed full scale; int16 would wrap or clip.
    gain = max(1.0, float(np.abs(audio).max()))
    samples = np.round(audio / gain * 32767.0).astype(np.int16)
    return samples, gain, rms(restore(samples, gain))


def restore(samples: np.ndarray, gain: float) -> np.ndarray:
    """Stored int16 samples as float32 at their original scale."""
    return samples.astype(np.float32) * np.float32(gain / 32768.0)


def rms(x: np.ndarray) -> float:
    """Root mean square level, never zero."""
    return float(np.sqrt(np.mean(np.square(x), dtype=np.float64) + 1e-12))


def _describe(faults: Sequence[str], count: int, folder: Path) -> str:
    text = "; ".join(faults[:_SHOWN])
    if len(faults) > _SHOWN:
        listed = folder / "unreadable.txt"
        listed.write_text("\n".join(faults) + "\n", encoding="utf-8")
        text += f"; and {len(faults) - _SHOWN} more, all listed in {listed}"
    return (
        f"{len(faults)} of {count} training clips cannot be decoded: {text}. Repair these files, or take them out of "
        "the data set, and start again; the others stay decoded"
    )


def _write_json(path: Path, table: dict[str, Any]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    temporary.write_text(json.dumps(table), encoding="utf-8")
    temporary.replace(path)


def _threads() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, _MOST_THREADS)
