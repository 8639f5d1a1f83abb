"""Write audio block by block; the file appears under its name only when it is whole.

Samples go to a hidden temporary file in the same folder, which replaces the target in one step when the `with`
block ends well and is removed when it does not. Rates that a codec does not know are converted on the way to the
nearest it knows.
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

from exdiff.audio.formats import FORMATS, check_channels, codec_for, rate_for
from exdiff.config import nearest
from exdiff.errors import AudioError

_PIECE = 1 << 14  # samples a call: libsndfile's Vorbis encoder keeps a whole call on its stack
_LAST_BYTES = 1 << 16  # more than any encoder keeps until it closes
_RIFF_LIMIT = (1 << 32) - (1 << 16)  # bytes; above it a WAV needs the 64-bit header
_BYTES = {"PCM_U8": 1, "ALAW": 1, "ULAW": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}


class AudioWriter:
    """A file being written; use it in a `with` statement.

    Args:
        path: the target; its folder is made when missing.
        sample_rate: Hz, of what `write` gets.
        channels: of what `write` gets.
        format: a key of `FORMATS`; the suffix of `path` when None.
        source_subtype: libsndfile's name of an encoding whose sample depth to keep where the format can.
        frames: samples a channel that will come, if known; only needed for WAV files over 4 GB.

    Attributes:
        clipped: samples beyond full scale that an integer format could not hold.
        sample_rate: Hz, of the file: not that of the input when the codec does not know it.

    Raises:
        AudioError: unknown format, too many channels, or a place that cannot be written.

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
        # Short, since the name itself may be as long as names can be.
        self._temporary, self._finished = self.path.with_name(f".{uuid.uuid4().hex[:8]}.part"), False
        if self.path.is_dir():
            raise AudioError(f"cannot write {self.path}: a folder has that name")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = self._open(codec, frames)
        except (OSError, soundfile.LibsndfileError) as error:
            self._temporary.unlink(missing_ok=True) if self.path.parent.is_dir() else None
            raise self._failed(error) from error

    def write(self, block: np.ndarray) -> None:
        """Append float32 [C, T] (or [T] of a mono file) in [-1, 1].

        Raises:
            AudioError: wrong number of channels, or the disk refuses.
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
            return _ContainerSink(self._temporary, self.sample_rate, self.channels)
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
        if reason == "System error.":  # all that libsndfile says
            reason = "the system refused; is the disk full, or the file too large?"
        return AudioError(f"cannot write {self.path}: {reason}")

    def finish(self) -> None:
        """Write what is left, all but the name: until `close` the target stays as it was.

        Raises:
            AudioError: the disk refuses; nothing is left then.
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
        """Finish the file and give it its name."""
        self.finish()
        try:
            os.replace(self._temporary, self.path)
        except (OSError, soundfile.LibsndfileError) as error:
            self.discard()
            raise self._failed(error) from error

    def discard(self) -> None:
        """Drop what was written; the target stays as it was."""
        try:
            self._sink.close()
        except (OSError, soundfile.LibsndfileError):
            pass  # the disk is full, say: the file goes away in any case
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
    """Write float32 [T] or [C, T]; arguments as `AudioWriter`. Warns when an integer format had to clip.

    Raises:
        AudioError: as `AudioWriter`, or the samples are not finite.
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
    """One line about what `writer` had to clip."""
    return (
        f"{writer.path}: {writer.clipped} samples beyond full scale were clipped; "
        "lower the input's level, or use a float WAV"
    )


def _check_room(path: Path) -> None:
    """OSError if the disk is full: libsndfile says nothing when its last bytes, some thousand, find no room."""
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(_LAST_BYTES))
        file.flush()
        file.truncate(size)


class _Sink(Protocol):
    def write(self, data: np.ndarray, /) -> None: ...

    def close(self) -> None: ...


class _ContainerSink:
    """AAC in MP4 through FFmpeg; takes [T, C]."""

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        import av

        # The movie's clock runs at the sample rate, so that the edit list states the length exactly.
        self.container = av.open(str(path), "w", format="ipod", options={"movie_timescale": str(sample_rate)})
        self.layout = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")[channels - 1]
        self.stream = self.container.add_stream("aac", rate=sample_rate, layout=self.layout)
        self.stream.bit_rate = min(96000, 4 * sample_rate) * channels
        self.rate, self.position, self.closed = sample_rate, 0, False

    def write(self, data: np.ndarray, /) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.T), format="fltp", layout=self.layout)
        frame.sample_rate, frame.pts = self.rate, self.position
        self.position += len(data)
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            for packet in self.stream.encode(None):
                self.container.mux(packet)
        finally:
            self.container.close()
