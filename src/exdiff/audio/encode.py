"""Write audio block by block; the file gets its name only when it is complete.

Samples go to a hidden temporary file in the same folder. It replaces the target in one step when the `with` block ends
normally, and is removed otherwise. Audio at a rate that the codec does not support is resampled to one that it does.
"""

from __future__ import annotations

import os
import uuid
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr

from exdiff.audio.containers import ContainerSink
from exdiff.audio.formats import FORMATS, check_channels, codec_for, rate_for
from exdiff.core.config import nearest
from exdiff.core.errors import AudioError

_PIECE = 1 << 14  # samples per call: libsndfile's Vorbis encoder puts the samples of a call on its stack
_LAST_BYTES = 1 << 16  # more than any encoder holds back until it closes
_RIFF_LIMIT = (1 << 32) - (1 << 16)  # bytes; above it a WAV needs the 64-bit header
_BYTES = {"PCM_U8": 1, "ALAW": 1, "ULAW": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}


class AudioWriter:
    """A file being written; use it in a `with` statement.

    Args:
        path: the target; its folder is created if missing.
        sample_rate: of the samples given to `write`, in Hz.
        channels: of the samples given to `write`.
        format: a key of `FORMATS`; None for the suffix of `path`.
        source_subtype: libsndfile's name of an encoding; its sample depth is kept if the format can hold it.
        frames: samples per channel to be written, if known; needed only for WAV files over 4 GB.

    Attributes:
        clipped: number of samples beyond full scale, which an integer format cannot hold.
        sample_rate: of the file, in Hz; differs from that of the input if the codec does not support it.

    Raises:
        AudioError: unknown format, too many channels, or a path that cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "tone.flac"
        >>> with AudioWriter(path, 16000, 1) as writer:
        ...     writer.write(np.zeros((1, 400), np.float32))
        >>> soundfile.info(path).frames
        400
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        *,
        format: str | None = None,
        source_subtype: str = "",
        frames: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.format = format or self.path.suffix.lower().lstrip(".")
        if self.format not in FORMATS:
            raise AudioError(
                f"cannot write {self.path.name}: unknown format {self.format!r}{nearest(self.format, FORMATS)}"
            )
        check_channels(self.format, channels)
        self.sample_rate, self.channels, self.clipped = rate_for(self.format, sample_rate), channels, 0
        codec = codec_for(self.format, source_subtype)
        self._clips = not FORMATS[self.format].lossy and codec not in ("FLOAT", "DOUBLE")
        self._resampler = None
        if self.sample_rate != sample_rate:
            self._resampler = soxr.ResampleStream(sample_rate, self.sample_rate, channels, dtype="float32")
        # Short, since the target's name may already have the maximum length.
        self._temporary, self._finished = self.path.with_name(f".{uuid.uuid4().hex[:8]}.part"), False
        if self.path.is_dir():
            raise AudioError(f"cannot write {self.path}: a folder has that name")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()  # its error has a reason, that of libsndfile has none
            self._sink = self._open(codec, frames)
        except (OSError, soundfile.LibsndfileError) as error:
            self._temporary.unlink(missing_ok=True) if self.path.parent.is_dir() else None
            raise self._failed(error) from error

    def write(self, block: np.ndarray) -> None:
        """Append float32 [C, T] (or [T] of a mono file) in [-1, 1].

        Raises:
            AudioError: wrong number of channels, or a failure to write.
        """
        block = np.atleast_2d(block)
        if block.shape[0] != self.channels:
            raise AudioError(f"{self.path.name} has {self.channels} channels, got a block of {block.shape[0]}")
        if self._resampler is not None:
            block = self._resampler.resample_chunk(np.ascontiguousarray(block.T, np.float32)).T
        self._put(block)

    def _put(self, block: np.ndarray) -> None:
        if self._clips:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
            block = np.clip(block, -1.0, 1.0)
        try:
            for start in range(0, block.shape[-1], _PIECE):
                self._sink.write(np.ascontiguousarray(block[:, start : start + _PIECE].T, np.float32))
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._failed(error) from error

    def _open(self, codec: str, frames: int | None) -> _Sink:
        if self.format == "m4a":
            return ContainerSink(self._temporary, self.sample_rate, self.channels)
        target = FORMATS[self.format]
        container = target.container
        if container == "WAV" and (frames or 0) * self.channels * _BYTES.get(codec, 4) > _RIFF_LIMIT:
            container = "RF64"
        options: dict[str, Any] = {"format": container, "subtype": codec, "compression_level": target.compression}
        if self.format == "mp3":
            options["bitrate_mode"] = "VARIABLE"
        return soundfile.SoundFile(self._temporary, "w", self.sample_rate, self.channels, **options)

    def _failed(self, error: Exception) -> AudioError:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or error
        if reason == "System error.":  # libsndfile says no more
            reason = "the system refused; is the disk full, or the file too large?"
        return AudioError(f"cannot write {self.path}: {reason}")

    def finish(self) -> None:
        """Write what is left. The target stays as it was until `close`.

        Raises:
            AudioError: a failure to write; the temporary file is removed then.
        """
        if self._finished:
            return
        try:
            if self._resampler is not None:
                rest = self._resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)
                self._put(rest.T)
            self._sink.close()
            _check_room(self._temporary)
        except (OSError, soundfile.LibsndfileError) as error:
            self.discard()
            raise self._failed(error) from error
        self._finished = True

    def close(self) -> None:
        """Finish the file and replace the target."""
        self.finish()
        try:
            os.replace(self._temporary, self.path)
        except (OSError, soundfile.LibsndfileError) as error:
            self.discard()
            raise self._failed(error) from error

    def discard(self) -> None:
        """Remove what was written; the target stays as it was."""
        try:
            self._sink.close()
        except (OSError, soundfile.LibsndfileError):
            pass  # e.g. a full disk: the file is removed anyway
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


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


def _check_room(path: Path) -> None:
    """OSError if the disk is full: libsndfile reports nothing if only its last few kilobytes do not fit."""
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(_LAST_BYTES))
        file.flush()
        file.truncate(size)


class _Sink(Protocol):
    def write(self, data: np.ndarray, /) -> None: ...

    def close(self) -> None: ...
