"""Media files by their path, as FFmpeg's libraries open them: a path is a path, and a file names no others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

# What they read lies elsewhere: in files that their text names. A text from somebody else could name anything here.
_LISTS = frozenset(["applehttp", "concat", "dash", "hls", "image2", "imf", "rtp", "rtsp", "sap", "sdp"])
LIST_HEADS = (b"#EXTM3U", b"ffconcat version")


def open_to_read(source: Path | BinaryIO, options: Mapping[str, str] | None = None, **others: Any) -> InputContainer:
    """Open a file for reading; `options` are FFmpeg's, `others` those of `av.open`.

    Raises:
        FFmpegError, OSError, ValueError: it cannot be read, or is a list of other files.
    """
    import av

    place: Any = _url(source) if isinstance(source, Path) else source
    return cast("InputContainer", av.open(place, "r", options={**(options or {}), **_whitelist()}, **others))


def open_to_write(target: Path, muxer: str, options: Mapping[str, str] | None = None) -> OutputContainer:
    """Open a file for writing.

    Raises:
        FFmpegError, OSError, ValueError: it cannot be written.
    """
    import av

    return av.open(_url(target), "w", format=muxer, options=dict(options or {}))


def _url(path: Path) -> str:
    """Without a protocol, what stands before a colon in a name would be taken for one."""
    return f"file:{path}"


@cache
def _whitelist() -> dict[str, str]:
    from av.format import formats_available

    return {"format_whitelist": ",".join(sorted(formats_available - _LISTS))}
