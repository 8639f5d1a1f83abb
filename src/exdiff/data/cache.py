"""A decoded copy of every clip in one memory-mapped file, so that training never waits for a decoder.

A cache folder holds `audio.i16` (PCM at one rate, clips end to end, channels interleaved) and `index.json` (for each
clip its start, length, channels, gain and RMS level; the samples were divided by the gain to fit into 16 bits).
`decoding` writes both. The folder's name is a hash of the path, size and time of last change of every clip: a file that
was edited in place is decoded again, as is one that was copied without its time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.core.errors import DataError
from exdiff.data.clips import Clip
from exdiff.data.decoding import build, restore

_LOOKED_AT = 2000  # frames that tell the level of a section well enough


class ClipCache:
    """Random access to the samples of `clips` at `sample_rate`: `cache.read(i, start, length)`, float32.

    Args:
        clips: what to hold; their order is the index.
        folder: where decoded copies are kept; one sub-folder per selection of clips, rate and channels.
        sample_rate: Hz.
        channels: 1 mixes every clip down and gives [T]; 2 keeps mono and stereo as they are and gives [1, T] or
            [2, T]; clips with more channels become mono.

    Attributes:
        samples: int16, of all clips one after another, mapped from the disk; the channels of a clip are interleaved.
        starts: index in `samples` of each clip.
        channels: of each clip.
        gains: what restores the scale of each clip, together with 1 / 32768.
        lengths: frames of each clip.
        levels: RMS of each clip as a whole, over all its channels; never zero.

    Raises:
        DataError: clips that cannot be decoded, or a damaged or read-only folder.

    Example:
        >>> import tempfile
        >>> from exdiff.audio import encode
        >>> folder = Path(tempfile.mkdtemp())
        >>> encode(folder / "a.wav", np.full((1, 800), 0.5, np.float32), 8000)
        >>> cache = ClipCache([Clip(folder / "a.wav", "speech")], folder / "cache", 8000)
        >>> cache.read(0, 100, 50).shape, round(float(cache.levels[0]), 3)
        ((50,), 0.5)
    """

    def __init__(self, clips: Sequence[Clip], folder: Path, sample_rate: int, channels: int = 1) -> None:
        if channels not in (1, 2):
            raise DataError(f"channels must be 1 (mono) or 2 (stereo), got {channels}")
        self.mono = channels == 1
        keys = [_key(clip) for clip in clips]
        kind = f"{sample_rate} {'mono' if self.mono else 'stereo'}\n"
        self.folder = folder / hashlib.sha256((kind + "".join(keys)).encode()).hexdigest()[:16]
        if not (self.folder / "index.json").is_file():
            build(clips, keys, self.folder, sample_rate, self.mono)
        if not self._load(len(clips)):
            raise DataError(f"the cache {self.folder} is damaged; delete that folder and start again")

    def _load(self, count: int) -> bool:
        """Whether the folder is whole."""
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            self.starts = np.array(index["starts"], dtype=np.int64)
            self.channels = np.array(index["channels"], dtype=np.int64)
            self.gains = np.array(index["gains"], dtype=np.float64)
            self.lengths = np.array(index["lengths"], dtype=np.int64)
            self.levels = np.array(index["levels"], dtype=np.float64)
            self.samples = self._mapped()
            whole = len(self.samples) == index["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        columns = (self.starts, self.channels, self.gains, self.lengths, self.levels)
        return whole and all(len(column) == count for column in columns)

    def __len__(self) -> int:
        return len(self.lengths)

    def _mapped(self) -> np.ndarray:
        path = self.folder / "audio.i16"
        if not path.stat().st_size:  # which cannot be mapped
            return np.zeros(0, np.int16)
        return np.memmap(path, dtype=np.int16, mode="r").view(np.ndarray)  # whose slices cost less

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the file by itself; pickled, a map would be a copy of all samples."""
        return {key: value for key, value in self.__dict__.items() if key != "samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.samples = self._mapped()

    def stored(self, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames [start, stop) of one clip as they are kept, int16 [T, C]."""
        stop = int(self.lengths[index]) if stop is None else stop
        offset, channels = int(self.starts[index]), int(self.channels[index])
        return self.samples[offset + start * channels : offset + stop * channels].reshape(-1, channels)

    def read(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """Frames [start, start + length) of one clip, [T] or [C, T]; fewer at the clip's end."""
        stop = self.lengths[index] if length is None else min(start + length, self.lengths[index])
        audio = restore(self.stored(index, start, int(stop)), self.gains[index])
        return audio[:, 0] if self.mono else np.ascontiguousarray(audio.T)

    def loudness(self, index: int, start: int, length: int) -> float:
        """RMS of a section of one clip, from some thousand frames of it; beyond the clip there is silence."""
        begin, stop = max(start, 0), min(start + length, int(self.lengths[index]))
        some = self.stored(index, begin, stop)[:: max(1, length // _LOOKED_AT)].astype(np.float32)
        share = (stop - begin) / length  # of the section that is not silence
        return float(np.sqrt(np.mean(np.square(some)) * share) * self.gains[index] / 32768)


def _key(clip: Clip) -> str:
    """What identifies the content of a clip without reading it: path, stream, size and time of last change."""
    try:
        status = clip.path.stat()
        facts = f"{status.st_size}|{status.st_mtime_ns}"
    except OSError:  # reported when it is decoded
        facts = "missing"
    return f"{clip.path}#{clip.stream}|{facts}\n"
