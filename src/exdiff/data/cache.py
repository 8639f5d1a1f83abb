"""A decoded copy of every clip in one memory-mapped file, so that training never waits for a decoder.

Layout of the folder: `audio.i16` (PCM at one rate, clips end to end, channels interleaved) and `index.json` (for each
clip where it starts, its length, channels and gain: what its samples were divided by to fit). Written once under a
temporary name and renamed, so an interrupted build leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.audio import decode, decode_mono, resample
from exdiff.data.clips import Clip
from exdiff.errors import AudioError, DataError
from exdiff.progress import track

_PIECE = 1 << 20  # frames


class ClipCache:
    """Random access to the samples of `clips` at `sample_rate`: `cache.read(i, start, length)`, float32.

    Args:
        clips: what to hold; their order is the index.
        folder: where the decoded copies live; one sub-folder per selection of clips, rate and channels.
        sample_rate: Hz.
        channels: 1 mixes every clip down and gives [T]; 2 keeps mono and stereo as they are and gives [1, T] or
            [2, T]; clips with more channels become mono.

    Raises:
        DataError: a clip that cannot be decoded, or a damaged folder.
    """

    def __init__(self, clips: Sequence[Clip], folder: Path, sample_rate: int, channels: int = 1) -> None:
        if channels not in (1, 2):
            raise DataError(f"channels must be 1 (mono) or 2 (stereo), got {channels}")
        self.mono = channels == 1
        self.folder = folder / _fingerprint(clips, sample_rate, channels)
        if not (self.folder / "index.json").is_file():
            _decode_all(clips, self.folder, sample_rate, self.mono)
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            self.starts = np.array(index["starts"], dtype=np.int64)  # in values, not frames
            self.lengths = np.array(index["lengths"], dtype=np.int64)  # in frames
            self.channels = index.get("channels", [1] * len(clips))
            self.gains = index.get("gains", [1.0] * len(clips))
            self._samples = self._mapped()
            sizes = {len(x) for x in (self.starts, self.lengths, self.channels, self.gains, clips)}
            whole = len(self._samples) == index["total"] and len(sizes) == 1
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DataError(f"the cache {self.folder} is damaged; delete that folder and start again")

    def __len__(self) -> int:
        return len(self.lengths)

    def _mapped(self) -> np.ndarray:
        return np.memmap(self.folder / "audio.i16", dtype=np.int16, mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the file by itself; pickled, a map would be a copy of all samples."""
        return {key: value for key, value in self.__dict__.items() if key != "_samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._samples = self._mapped()

    def read(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Frames [start, start + length) of one clip, [T] or [C, T], shorter at the clip's end."""
        stop = self.lengths[index] if length is None else min(start + length, self.lengths[index])
        offset, channels = self.starts[index], self.channels[index]
        samples = self._samples[offset + start * channels : offset + stop * channels]
        scaled = samples.astype(np.float32) * np.float32(self.gains[index] / 32768.0)
        return scaled if self.mono else np.ascontiguousarray(scaled.reshape(-1, channels).T)

    def level(self, index: int) -> float:
        """Root mean square of a whole clip, read piece by piece."""
        total, length = 0.0, int(self.lengths[index])
        for start in range(0, length, _PIECE):
            total += float(np.square(self.read(index, start, _PIECE), dtype=np.float64).sum())
        return float(np.sqrt(total / max(1, length * self.channels[index]) + 1e-12))


def _fingerprint(clips: Sequence[Clip], sample_rate: int, channels: int) -> str:
    digest = hashlib.sha256((str(sample_rate) if channels == 1 else f"{sample_rate} stereo").encode())
    for clip in clips:
        size = clip.path.stat().st_size if clip.path.is_file() else -1
        stream = f"#{clip.stream}" if clip.stream else ""
        digest.update(f"{clip.path}{stream}|{size}\n".encode())
    return digest.hexdigest()[:16]


def _decode_all(clips: Sequence[Clip], folder: Path, sample_rate: int, mono: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"audio.{os.getpid()}.tmp"
    index: dict[str, list[float]] = {"starts": [], "lengths": [], "channels": [], "gains": []}
    total = 0
    try:
        with temporary.open("wb") as out:
            for clip in track(clips, "decoding clips"):
                samples, gain = _decode_clip(clip, sample_rate, mono)
                out.write(samples.T.tobytes())
                for key, value in zip(index, (total, samples.shape[-1], len(samples), gain), strict=True):
                    index[key].append(value)
                total += samples.size
        temporary.replace(folder / "audio.i16")
    finally:
        temporary.unlink(missing_ok=True)
    table = folder / f"index.{os.getpid()}.tmp"
    table.write_text(json.dumps({**index, "total": total}), encoding="utf-8")
    table.replace(folder / "index.json")


def _decode_clip(clip: Clip, sample_rate: int, mono: bool) -> tuple[np.ndarray, float]:
    """int16 [C, T], and the gain that makes them what they were."""
    try:
        if mono:
            audio = decode_mono(clip.path, sample_rate, clip.stream)[None]
        else:
            audio, rate = decode(clip.path, clip.stream)
            audio = resample(audio if len(audio) <= 2 else audio.mean(axis=0, keepdims=True), rate, sample_rate)
    except AudioError as error:
        raise DataError(f"cannot decode a training clip: {error}") from error
    if not audio.shape[-1]:
        raise DataError(f"the training clip {clip.path} holds no sound; leave it out of the manifest")
    # Float files and resampling may exceed full scale; int16 would wrap or clip.
    gain = max(1.0, float(np.abs(audio).max()))
    return np.round(audio / gain * 32767.0).astype(np.int16), gain
