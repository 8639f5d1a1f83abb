"""Inputs: the files that an argument of the command line names."""

from __future__ import annotations

import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from exdiff.audio import SUFFIXES
from exdiff.audio.files import audio_files, is_audio
from exdiff.cli.enhancing.names import media_suffixes
from exdiff.cli.enhancing.options import PIPE
from exdiff.core.errors import ConfigError


def check_local(*texts: str) -> None:
    """Raise if one is a URL, and no path that happens to hold "://".

    Raises:
        ConfigError: says what to do instead.
    """
    for text in texts:
        if "://" in text and text.partition("://")[0].isalnum() and not os.path.exists(text):
            raise ConfigError(
                f"{text} is a URL, which exdiff enhance does not read or write; download the file first, or use "
                "exdiff batch for an object store"
            )


def expand(text: str, out: Path | None, passed_over: Counter[str]) -> Iterator[tuple[Path, Path]]:
    """The files of one argument, each with its path below `out`; files that are not read are counted by suffix.

    Raises:
        ConfigError: no audio files.
    """
    if not text:
        raise ConfigError("an input is empty; name a file, a folder or a glob, . for the current folder")
    path = Path(text)
    if text != PIPE and os.path.isdir(path):
        files = list(_outside(audio_files(path), path, out))
        passed_over.update(_other_media(path))
        if not files:
            raise ConfigError(f"{text} holds no audio or video files; known suffixes: {' '.join(sorted(SUFFIXES))}")
        yield from ((file, file.relative_to(path)) for file in files)
    elif text == PIPE or os.path.exists(path) or not glob.has_magic(text):
        yield path, Path(path.name)
    else:
        root = Path(*_plain_parts(path))
        found = map(Path, sorted(glob.glob(text, recursive=True)))
        matches = [p for p in _outside(found, root, out) if os.path.isfile(p)]
        files = [p for p in matches if is_audio(p)]
        passed_over.update(media_suffixes(p.name for p in matches))
        if not files:
            raise ConfigError(f"{text} matches no audio or video files")
        yield from ((file, file.relative_to(root)) for file in files)


def _outside(files: Iterable[Path], folder: Path, out: Path | None) -> Iterable[Path]:
    """Of files below `folder` those that do not lie in an `out` inside it."""
    if out is None or not os.path.isdir(out) or os.path.realpath(out) == os.path.realpath(folder):
        return files
    inside = Path(os.path.realpath(out))
    return (path for path in files if not Path(os.path.realpath(path)).is_relative_to(inside))


def _other_media(folder: Path) -> Iterator[str]:
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from media_suffixes(name for name in names if not name.startswith("."))


def _plain_parts(pattern: Path) -> Iterable[str]:
    """The folders of a glob before its first wildcard."""
    return itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts[:-1])
