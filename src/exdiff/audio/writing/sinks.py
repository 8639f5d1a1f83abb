"""Choose the encoder of a file, and find out whether all of it could be written."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from exdiff.audio.codecs import CONTAINERS
from exdiff.audio.tags.metadata import Metadata
from exdiff.audio.targets import Target
from exdiff.audio.writing.soundfile_sink import SoundFileSink

_LAST_BYTES = 1 << 16  # more than any encoder holds back until it closes


class Sink(Protocol):
    """An encoder: takes [T, C] blocks, int32 of the target's depth or float32.

    Attributes:
        notes: a line for each thing that could not be kept.
    """

    notes: list[str]

    def write(self, data: np.ndarray, /) -> None:
        """Append a block."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...

    def abort(self) -> None:
        """Release the file; what was written is of no use."""
        ...


def open_sink(
    path: Path,
    target: Target,
    channels: int,
    metadata: Metadata | None,
    frames: int | None,
    picture_from: tuple[Path | None, int | None],
) -> Sink:
    """The encoder for `target`; `picture_from` is a film, or None, and its audio stream that is replaced.

    Raises:
        OSError, soundfile.LibsndfileError: the file cannot be written.
        AudioError: the film has no picture, or is not readable.
    """
    source, stream = picture_from
    if source is None and (not CONTAINERS[target.container].muxer or target.codec == "vorbis"):
        return SoundFileSink(path, target, channels, metadata, frames)
    from exdiff.audio.writing.ffmpeg_sink import FFmpegSink  # PyAV takes a while to import
    from exdiff.audio.writing.picture import Picture

    picture = None if source is None else Picture(source, stream)
    try:
        return FFmpegSink(path, target, channels, metadata, picture)
    except BaseException:
        if picture is not None:
            picture.close()
        raise


def reason(error: Exception) -> str:
    """Why a file cannot be written, in words."""
    text = str(getattr(error, "strerror", None) or getattr(error, "error_string", None) or error)
    if text == "System error.":  # libsndfile says no more
        return "the system refused; is the disk full, or the file too large?"
    return text


def check_room(path: Path) -> None:
    """OSError if the disk is full: libsndfile reports nothing if only its last few kilobytes do not fit."""
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(_LAST_BYTES))
        file.flush()
        file.truncate(size)
