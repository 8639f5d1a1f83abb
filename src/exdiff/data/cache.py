"""A decoded copy of every clip in one memory-mapped file, so that training never waits for a decoder.

Layout of the folder: `audio.i16` (mono PCM at one rate, clips end to end) and `index.json` (offsets and what they were
made from). Written once under a temporary name and renamed, so an interrupted build leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exdiff.audio import decode_mono
from exdiff.data.clips import Clip
from exdiff.errors import AudioError, DataError
from exdiff.progress import track


class ClipCache:
    """Random access to the samples of `clips` at `sample_rate`: `cache.read(i, start, length)` -> float32 [length].

    Args:
        clips: what to hold; their order is the index.
        folder: where the decoded copies live; one sub-folder per selection of clips and rate.
        sample_rate: Hz.

    Raises:
        DataError: a clip that cannot be decoded, or a damaged folder.
    """

    def __init__(self, clips: Sequence[Clip], folder: Path, sample_rate: int) -> None:
        key = _fingerprint(clips, sample_rate)
        self.folder = folder / key
        if not (self.folder / "index.json").is_file():
            _decode_all(clips, self.folder, sample_rate)
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            self.starts = np.array(index["starts"], dtype=np.int64)
            self.lengths = np.array(index["lengths"], dtype=np.int64)
            self._samples = np.memmap(self.folder / "audio.i16", dtype=np.int16, mode="r")
            whole = len(self._samples) == index["total"] and len(self.starts) == len(self.lengths) == len(clips)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DataError(f"the cache {self.folder} is damaged; delete that folder and start again")

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Samples [start, start + length) of one clip in [-1, 1), shorter at the clip's end."""
        stop = self.lengths[index] if length is None else min(start + length, self.lengths[index])
        offset = self.starts[index]
        return self._samples[offset + start : offset + stop].astype(np.float32) / 32768.0


def _fingerprint(clips: Sequence[Clip], sample_rate: int) -> str:
    digest = hashlib.sha256(str(sample_rate).encode())
    for clip in clips:
        size = clip.path.stat().st_size if clip.path.is_file() else -1
        digest.update(f"{clip.path}|{size}\n".encode())
    return digest.hexdigest()[:16]


def _decode_all(clips: Sequence[Clip], folder: Path, sample_rate: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"audio.{os.getpid()}.tmp"
    starts, lengths, total = [], [], 0
    try:
        with temporary.open("wb") as out:
            for clip in track(clips, "decoding clips"):
                samples = _decode_clip(clip, sample_rate)
                out.write(samples.tobytes())
                starts.append(total)
                lengths.append(len(samples))
                total += len(samples)
        temporary.replace(folder / "audio.i16")
    finally:
        temporary.unlink(missing_ok=True)
    index = folder / f"index.{os.getpid()}.tmp"
    index.write_text(json.dumps({"starts": starts, "lengths": lengths, "total": total}), encoding="utf-8")
    index.replace(folder / "index.json")


def _decode_clip(clip: Clip, sample_rate: int) -> np.ndarray:
    try:
        audio = decode_mono(clip.path, sample_rate)
    except AudioError as error:
        raise DataError(f"cannot decode a training clip: {error}") from error
    if not len(audio):
        raise DataError(f"the training clip {clip.path} holds no sound; leave it out of the manifest")
    peak = float(np.abs(audio).max())
    if peak > 1:  # resampling may overshoot full scale; int16 would wrap or clip
        audio = audio / peak
    return np.round(audio * 32767.0).astype(np.int16)
