"""Read any audio or video file block by block, with its exact length and bounded memory.

libsndfile (soundfile) reads wav, flac, ogg, opus, mp3, aiff and similar formats; what it refuses goes to FFmpeg (PyAV,
in `containers.py`). Both give float32 and remove the padding that lossy codecs add, if the file records its length.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import soundfile

from exdiff.audio.containers import ContainerSource
from exdiff.audio.integrity import missing_bytes
from exdiff.audio.resample import resample
from exdiff.core.errors import AudioError


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        sample_rate: Hz.
        channels: number of channels in the chosen stream.
        frames: samples per channel, or None if the length is known only after decoding.
        subtype: libsndfile's name of the encoding ("PCM_16", "FLOAT", "VORBIS"), or FFmpeg's codec name.
    """

    sample_rate: int
    channels: int
    frames: int | None
    subtype: str


class _Source(Protocol):
    info: tuple[int, int, int | None, str]

    def blocks(self, seconds: float) -> Iterator[np.ndarray]: ...

    def close(self) -> None: ...


class AudioReader:
    """An open audio file; use it in a `with` statement.

    Args:
        path: any file that libsndfile or FFmpeg decodes.
        stream: index of the audio stream in a container, from 0.

    Raises:
        AudioError: missing, empty, not audio, or no such stream.

    Example:
        >>> import tempfile
        >>> from exdiff.audio import encode
        >>> path = Path(tempfile.mkdtemp()) / "tone.wav"
        >>> encode(path, np.zeros((2, 1000), np.float32), 8000)
        >>> with AudioReader(path) as reader:
        ...     reader.info.sample_rate, sum(block.shape[-1] for block in reader.blocks())
        (8000, 1000)
    """

    def __init__(self, path: str | os.PathLike[str], stream: int = 0) -> None:
        self.path = Path(path)
        _check_file(self.path)
        self._source = _open(self.path, stream)
        self.info = AudioInfo(*self._source.info)

    def blocks(self, seconds: float = 1.0) -> Iterator[np.ndarray]:
        """Float32 blocks [C, T] of about `seconds`, in order, once.

        Raises:
            AudioError: the file is damaged, cut short, holds no samples, or holds NaN or infinite values.
        """
        total = 0
        for block in self._source.blocks(seconds):
            if not np.isfinite(block).all():
                raise AudioError(
                    f"{self.path}: holds NaN or infinite samples after {total / self.info.sample_rate:.2f} s; "
                    "export it again from its source"
                )
            total += block.shape[-1]
            yield block
        if total == 0:
            raise AudioError(f"{self.path}: holds no samples; nothing can be done with it")

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def decode(path: str | os.PathLike[str], stream: int = 0) -> tuple[np.ndarray, int]:
    """A whole file as float32 [C, T] and its sample rate in Hz.

    Raises:
        AudioError: as `AudioReader`.
    """
    with AudioReader(path, stream) as reader:
        return np.concatenate(list(reader.blocks()), axis=-1), reader.info.sample_rate


def decode_mono(path: str | os.PathLike[str], sample_rate: int, stream: int = 0) -> np.ndarray:
    """A whole file as float32 [T]: the mean of its channels, resampled to `sample_rate` Hz.

    Raises:
        AudioError: as `AudioReader`.
    """
    audio, rate = decode(path, stream)
    return resample(audio.mean(axis=0), rate, sample_rate)


_OGG_SECONDS = 0.5  # some encoders count a frame or more that they never wrote


class _SequentialFile(soundfile.SoundFile):
    """soundfile seeks after each block of a seekable file, which makes libmpg123 print to standard error."""

    def seekable(self) -> bool:
        return False


class _SoundFileSource:
    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if missing := missing_bytes(path):
            raise AudioError(f"{self.name}: truncated, at least {missing} bytes are missing at its end; copy it again")
        self.file = _SequentialFile(path)
        # libsndfile gives an absurdly large number for an unknown length.
        frames = self.file.frames if 0 <= self.file.frames < 1 << 48 else None
        self.info = (self.file.samplerate, self.file.channels, frames, self.file.subtype)

    def blocks(self, seconds: float) -> Iterator[np.ndarray]:
        size = max(1, round(seconds * self.file.samplerate))
        total = 0
        while True:
            try:
                block = self.file.read(size, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise self._truncated(total) from error
            if not len(block):
                break
            total += len(block)
            yield np.ascontiguousarray(block.T)
        # Without a Xing header the length of an mp3 is an estimate, and some Ogg files end a little early.
        slack = {"MP3": self.info[2] or 0, "OGG": _OGG_SECONDS * self.file.samplerate}.get(self.file.format, 0)
        if self.info[2] is not None and total < self.info[2] - slack:
            raise self._truncated(total)

    def _truncated(self, total: int) -> AudioError:
        rate, _, frames, _ = self.info
        whole = "" if frames is None else f" of {frames / rate:.2f} s"
        return AudioError(
            f"{self.name}: truncated or damaged: it ends after {total / rate:.2f} s{whole}; copy it again"
        )

    def close(self) -> None:
        self.file.close()


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioError(f"{path}: a folder, not an audio file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: empty (0 bytes); an audio or video file is needed")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise AudioError(f"{path}: does not exist") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error


def _open(path: Path, stream: int) -> _Source:
    if path.suffix.lower() == ".mp3" and not _has_mpeg_frames(path):
        return ContainerSource(path, stream)
    try:
        source = _SoundFileSource(path)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: headerless .raw, whose rate is unknown
        return ContainerSource(path, stream)
    if stream:
        source.close()
        raise AudioError(f"{path}: has 1 audio stream, got stream {stream}; streams are counted from 0")
    return source


def _has_mpeg_frames(path: Path) -> bool:
    """Whether there may be any; if there are none, libmpg123 prints many lines to standard error."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return head.startswith(b"ID3") or any(b > 0xE0 and a == 0xFF for a, b in pairwise(head))
