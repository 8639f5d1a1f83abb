"""Open a container with FFmpeg; what fails ends in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from exdiff.audio.reading.source import seekable
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
    import av
    import av.error

    # "file:" keeps FFmpeg from reading a colon in the name as a protocol.
    source: Any = file if path is None else f"file:{path}"
    try:
        container = av.open(source, "r", format=format, options=options, metadata_errors="ignore")
        return cast("InputContainer", container)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if not seekable(file):
            text = f"cannot be read from a pipe ({reason(error)}); save it to a file first"
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
