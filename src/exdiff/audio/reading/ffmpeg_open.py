"""Open a container with FFmpeg; what fails ends in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from exdiff.audio.av_open import LIST_HEADS, open_to_read
from exdiff.audio.reading.source import read_at, seekable
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av.container import InputContainer


def open_container(
    file: BinaryIO, name: str, *, path: Path | None, format: str | None, options: dict[str, str] | None, failure: str
) -> InputContainer:
    """The opened container; `failure` is what is already known to be wrong with the file.

    Raises:
        AudioError: it is none.
    """
    import av.error

    try:
        return open_to_read(file if path is None else path, options, format=format, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if not seekable(file):
            text = f"cannot be read from a pipe ({reason(error)}); save it to a file first"
        elif read_at(file, 0, 64).startswith(LIST_HEADS):
            text = "a list of other files, which are not read through it; name them, or make one file of them first"
        elif failure:
            text = f"truncated: {failure}, and without them nothing can be decoded; copy it again"
        else:
            text = (
                f"not a readable audio or video file ({reason(error)}); "
                "wav, flac, mp3, ogg, opus, m4a, mp4 and most other formats can be read"
            )
        raise AudioError(f"{name}: {text}") from error


def reason(error: Exception) -> str:
    """The first line of an error's own message."""
    text = str(getattr(error, "strerror", None) or error).strip()
    # FFmpeg has no words for some of its errors, and the wrong ones for "no data yet".
    if text.startswith("Error number") or "temporarily unavailable" in text:
        return "its data are not what its header says"
    return (text.splitlines() or ["unknown"])[0]
