"""Read any audio or video file block by block, with its exact length and bounded memory.

`probe.py` chooses the decoder from the content; the sources decode; `integrity.verify` compares what came out with
every independent record of the length.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from exdiff.audio.info import AudioInfo
from exdiff.audio.reading.probe import open_source
from exdiff.audio.reading.source import MAX_BLOCK, at_hand, open_input
from exdiff.audio.resample import resample
from exdiff.core.errors import AudioError

__all__ = ["AudioInfo", "AudioReader", "decode", "decode_mono"]


class AudioReader:
    """An open audio file; use it in a `with` statement.

    Args:
        path: any file that libsndfile or FFmpeg decodes, or a binary file object such as `sys.stdin.buffer`. Of an
            object that cannot seek, WAV and FLAC are decoded as they come; all else is first copied to a temporary
            file.
        stream: index of the audio stream in a container, from 0; None for its default stream.
        salvage: decode what can be decoded of a damaged or truncated file. Silence replaces what is lost within it.
        raw: (FFmpeg's name of a sample format, such as "s16le"; rate in Hz; channels) of PCM without a header.

    Attributes:
        info: what the file is.
        notes: one line about each choice made and each part left out or put in; complete after the last block.
        missing: (start, length) in seconds of what could not be decoded; complete after the last block of a salvage. A
            length of 0 means that nobody can say how much is lost.
        start: time of the first sample in the container's clock, in seconds.

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

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        stream: int | None = None,
        *,
        salvage: bool = False,
        raw: tuple[str, int, int] | None = None,
    ) -> None:
        if isinstance(path, str | os.PathLike):
            self.path = Path(path)
            self._file, self._owned = open_input(self.path), True
        else:
            self.path, self._file, self._owned = Path("-"), path, False
        self._copy: BinaryIO | None = None
        try:
            with self._one_line():
                file = self._file if raw is not None else at_hand(self._file)
                self._copy = None if file is self._file else file
                self._source = open_source(file, str(self.path), stream, salvage=salvage, raw=raw)
        except BaseException:
            self.close()
            raise
        self.info = self._source.info

    @property
    def notes(self) -> list[str]:
        return self._source.notes

    @property
    def missing(self) -> list[tuple[float, float]]:
        return self._source.missing

    @property
    def seconds(self) -> float | None:
        """The length before decoding: exact if `info.frames` is known, else what the container says, or None."""
        frames = self.info.frames
        return self._source.seconds if frames is None else frames / self.info.sample_rate

    @property
    def start(self) -> float:
        return self._source.start

    def blocks(self, seconds: float = 1.0) -> Iterator[np.ndarray]:
        """Float32 blocks [C, T] of about `seconds`, in order, once; channels in WAV order.

        Raises:
            AudioError: the file is damaged, cut short, holds no samples, or holds NaN or infinite values.
        """
        scale = np.float32(2.0 ** (1 - self.info.bits))
        total = 0
        for block in self._native(seconds):
            audio = block * scale if self.info.bits else block
            if not np.isfinite(audio).all():
                raise AudioError(
                    f"{self.path}: holds NaN or infinite samples after {total / self.info.sample_rate:.2f} s; "
                    "export it again from its source"
                )
            total += audio.shape[-1]
            yield audio.astype(np.float32, copy=False)

    def exact_blocks(self, seconds: float = 1.0) -> Iterator[np.ndarray]:
        """Int32 blocks [C, T] of the sample values themselves, of `info.bits` bits; in place of `blocks`.

        Raises:
            AudioError: as `blocks`; or the file holds no integer samples (`info.bits` is 0).
        """
        if not self.info.bits:
            raise AudioError(f"{self.path}: {self.info.codec} holds no integer samples; read blocks() instead")
        return self._native(seconds)

    def _native(self, seconds: float) -> Iterator[np.ndarray]:
        size = max(1, min(round(seconds * self.info.sample_rate), MAX_BLOCK // self.info.channels))
        total = 0
        with self._one_line():
            for block in self._source.native(size):
                total += block.shape[-1]
                if block.shape[-1]:
                    yield block
        if total == 0:
            raise AudioError(f"{self.path}: holds no samples; nothing can be done with it")

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """AudioError for what a failing disk or an impossible number in a header raises."""
        try:
            yield
        except OSError as error:
            raise AudioError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        except (struct.error, OverflowError, IndexError) as error:
            raise AudioError(f"{self.path}: damaged header ({error}); copy it again") from error

    def close(self) -> None:
        """Release the file."""
        if source := getattr(self, "_source", None):
            source.close()
        if self._copy is not None:
            self._copy.close()
        if self._owned:
            self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def decode(path: str | os.PathLike[str] | BinaryIO, stream: int | None = None) -> tuple[np.ndarray, int]:
    """A whole file as float32 [C, T] and its sample rate in Hz.

    Raises:
        AudioError: as `AudioReader`.
    """
    with AudioReader(path, stream) as reader:
        return np.concatenate(list(reader.blocks()), axis=-1), reader.info.sample_rate


def decode_mono(path: str | os.PathLike[str] | BinaryIO, sample_rate: int, stream: int | None = None) -> np.ndarray:
    """A whole file as float32 [T]: the mean of its channels, resampled to `sample_rate` Hz.

    Raises:
        AudioError: as `AudioReader`.
    """
    audio, rate = decode(path, stream)
    return resample(audio.mean(axis=0), rate, sample_rate)
