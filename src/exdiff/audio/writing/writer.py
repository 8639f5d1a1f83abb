"""Write audio block by block; the file gets its name only when it is complete.

Samples go to a hidden temporary file in the same folder. It replaces the target in one step when the `with` block ends
normally, and is removed otherwise. Audio at a rate that the codec does not support is resampled to one that it does.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import soxr

from exdiff.audio.formats import target_for
from exdiff.audio.layouts import back_for_side, default_layout
from exdiff.audio.tags.metadata import Metadata, lost
from exdiff.audio.targets import Target
from exdiff.audio.writing.sinks import check_room, open_sink, reason
from exdiff.audio.writing.unfinished import new_temporary
from exdiff.core.errors import AudioError

_PIECE = 1 << 16  # samples per call of an encoder; bounds its memory


class AudioWriter:
    """A file being written; use it in a `with` statement.

    Args:
        path: the target; its folder is created if missing.
        sample_rate: of the samples given to `write`, in Hz.
        channels: of the samples given to `write`, in WAV order.
        target: what to write, see `choose_target`; None to derive it from `format` and `source_subtype`.
        format: a format or suffix that can be written; None for the suffix of `path`.
        source_subtype: libsndfile's name of an encoding; its sample depth is kept if the format can hold it.
        frames: samples per channel to be written, if known; needed only for WAV files over 4 GB.
        metadata: tags, covers, chapters and chunks to put into the file.
        picture_from: a film whose picture and subtitles are copied beside the sound.
        picture_stream: the audio stream of that film, from 0, that the sound replaces; None for the default one.

    Attributes:
        clipped: number of samples beyond full scale, which an integer format cannot hold.
        sample_rate: of the file, in Hz; differs from that of the input if the codec does not support it.
        target: what is written.
        exact: whether `write_exact` takes integers that the file will hold unchanged.
        notes: after `finish`, a line for each thing that could not be kept.

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
        target: Target | None = None,
        format: str | None = None,
        source_subtype: str = "",
        frames: int | None = None,
        metadata: Metadata | None = None,
        picture_from: Path | None = None,
        picture_stream: int | None = None,
    ) -> None:
        self.path, self.channels, self.clipped = Path(path), channels, 0
        self.notes: list[str] = []
        self.target = target or target_for(self.path, format, source_subtype, sample_rate, channels)
        self.sample_rate = self.target.sample_rate
        self._metadata, self._with_picture = metadata, picture_from is not None
        self._resampler = None
        if self.sample_rate != sample_rate:
            self._resampler = soxr.ResampleStream(sample_rate, self.sample_rate, channels, dtype="float32")
        self.exact = self.target.bits > 0 and self._resampler is None
        self._temporary, self._finished = new_temporary(self.path), False
        if self.path.is_dir():
            raise AudioError(f"cannot write {self.path}: a folder has that name")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()  # its error has a reason, that of libsndfile has none
            self._sink = open_sink(
                self._temporary, self.target, channels, metadata, frames, (picture_from, picture_stream)
            )
        except (OSError, soundfile.LibsndfileError) as error:
            self._temporary.unlink(missing_ok=True) if self.path.parent.is_dir() else None
            raise self._failed(error) from error
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    def write(self, block: np.ndarray) -> None:
        """Append float32 [C, T] (or [T] of a mono file) in [-1, 1], rounded if the file holds integers.

        Raises:
            AudioError: wrong number of channels, or a failure to write.
        """
        block = self._checked(block)
        if self._resampler is not None:
            block = self._resampler.resample_chunk(np.ascontiguousarray(block.T, np.float32)).T
        self._put_float(block)

    def quantise(self, block: np.ndarray) -> np.ndarray:
        """Float [C, T] in [-1, 1] rounded to the int32 values that the file holds, clipped at its full scale.

        Example:
            >>> import tempfile
            >>> with AudioWriter(Path(tempfile.mkdtemp()) / "x.wav", 16000, 1) as writer:
            ...     writer.quantise(np.array([[0.5, -1.0, 1.0]])).tolist()
            [[16384, -32768, 32767]]
        """
        scale = 1 << (self.target.bits - 1)
        # float32 has 24 significant bits: enough to multiply by a power of two, not for the limit of 32 bits.
        wide = np.asarray(block, np.float64 if self.target.bits > 24 else np.float32) * scale
        return np.clip(np.rint(wide), -scale, scale - 1).astype(np.int32)

    def write_exact(self, block: np.ndarray) -> None:
        """Append int32 [C, T], the values that the file shall hold; only if `exact`.

        Raises:
            AudioError: wrong number of channels, or a failure to write.
        """
        if not self.exact:
            raise ValueError(f"{self.target.codec} at {self.sample_rate} Hz does not hold these integers; use write")
        block = self._checked(block)
        scale = 1 << (self.target.bits - 1)
        fits = np.clip(block, -scale, scale - 1)
        self.clipped += int(np.count_nonzero(fits != block))
        self._put(fits.astype(np.int32))

    def _checked(self, block: np.ndarray) -> np.ndarray:
        block = np.atleast_2d(block)
        if block.shape[0] != self.channels:
            raise AudioError(f"{self.path.name} has {self.channels} channels, got a block of {block.shape[0]}")
        return block

    def _put_float(self, block: np.ndarray) -> None:
        if self.target.bits:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
            block = self.quantise(block)
        elif self.target.codec in ("pcm_mulaw", "pcm_alaw"):
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
            block = np.clip(block, -1.0, 1.0)
        self._put(block if self.target.bits else np.asarray(block, np.float32))

    def _put(self, block: np.ndarray) -> None:
        try:
            for start in range(0, block.shape[-1], _PIECE):
                self._sink.write(np.ascontiguousarray(block[:, start : start + _PIECE].T))
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> AudioError:
        return AudioError(f"cannot write {self.path}: {reason(error)}")

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
                self._put_float(rest.T)
            self._sink.close()
            check_room(self._temporary)
        except (OSError, soundfile.LibsndfileError) as error:
            self.discard()
            raise self._failed(error) from error
        self._finished = True
        self.notes += [*self._sink.notes, *self._layout_lost()]
        if self._metadata is not None:
            self.notes += lost(self._metadata, self._temporary, self.target.suffix, self._with_picture)

    def _layout_lost(self) -> list[str]:
        """A line if the file does not say which loudspeakers its channels are for, or says it otherwise."""
        layout = self.target.layout
        if self.channels <= 2 or not layout:
            return []
        from exdiff.audio.decode import AudioReader  # which needs this module for its examples

        try:
            with AudioReader(self._temporary) as reader:
                got = reader.info.layout or default_layout(self.channels)
        except AudioError:  # e.g. no samples
            return []
        if back_for_side(got) == back_for_side(layout):
            return []
        return [
            f"{self.target.codec} in {self.target.suffix} cannot name the layout {' '.join(layout)}; its order is kept"
        ]

    def close(self) -> None:
        """Finish the file and replace the target."""
        self.finish()
        try:
            os.replace(self._temporary, self.path)
        except OSError as error:
            self.discard()
            raise self._failed(error) from error

    def discard(self) -> None:
        """Remove what was written; the target stays as it was."""
        try:
            self._sink.abort()
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
