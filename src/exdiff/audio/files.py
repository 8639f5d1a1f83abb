"""Which files of a folder are audio: the one walker behind enhancing, training, evaluation and `exdiff data`."""

from __future__ import annotations

import os
from pathlib import Path

from exdiff.audio.formats import SUFFIXES


def is_audio(path: Path) -> bool:
    """Whether the suffix is that of an audio or video file; the file itself is not opened.

    Example:
        >>> is_audio(Path("talk.MP4")), is_audio(Path("notes.txt"))
        (True, False)
    """
    return path.suffix.lower().removeprefix(".") in SUFFIXES


def audio_files(folder: Path) -> list[Path]:
    """Every audio file below `folder`, sorted.

    Files and folders whose names begin with a dot are left out, among them the `._NAME` files that macOS leaves in
    archives and on network drives. Linked files count; linked folders are not entered, so links cannot form a loop.

    Raises:
        OSError: a folder cannot be read. Its files must not be missing without a word.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.flac", "a.WAV", "._a.WAV", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in audio_files(folder)]
        ['a.WAV', 'b.flac']
    """
    found = []
    for place, folders, names in os.walk(folder, onerror=_give_up):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        found += [path for path in paths if is_audio(path) and path.is_file()]
    return sorted(found)


def _give_up(error: OSError) -> None:
    raise error
