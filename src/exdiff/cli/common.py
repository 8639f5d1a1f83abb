"""What all commands share: how they speak and how they end."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from exdiff.errors import ConfigError, ExDiffError

SOME_FAILED = 1
NOTHING_DONE = 2
INTERRUPTED = 130  # the shell's code for a process that SIGINT ended


def say(text: str) -> None:
    """One line on standard error; standard output is for results alone."""
    print(f"exdiff: {text}", file=sys.stderr, flush=True)


@contextmanager
def reporting() -> Iterator[None]:
    """Turn an error that exdiff raised on purpose into one line and exit code 2; a bug keeps its traceback."""
    try:
        yield
    except ExDiffError as error:
        say(f"error: {error}")
        raise typer.Exit(NOTHING_DONE) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        say(f"error: {error.filename}: {error.strerror}")
        raise typer.Exit(NOTHING_DONE) from None
    except KeyboardInterrupt:
        say("interrupted; unfinished files were removed")
        raise typer.Exit(INTERRUPTED) from None


def named_path(text: str) -> Path:
    """A path that is not empty, as an unset variable of a script is: that would mean the current folder."""
    if not text:
        raise typer.BadParameter("is empty; name a file or a folder, . for the folder that you are in")
    return Path(text)


def refuse_existing(paths: Iterable[Path | None], overwrite: bool) -> None:
    """Raise before any work if a result could not be written, or would replace a file that nobody asked to replace.

    Raises:
        ConfigError: names the first such file.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if path.is_dir():
            raise ConfigError(f"{str(path)!r} is a folder; name a file")
        parent = next((p for p in path.parents if p.exists()), path.parent)
        if not parent.is_dir():
            raise ConfigError(f"{str(path)!r} cannot be written: {str(parent)!r} is a file; name another place")
        if given.count(path) > 1:
            raise ConfigError(f"{str(path)!r} is asked for twice; name two files")
        if path.exists() and not overwrite:
            raise ConfigError(f"{str(path)!r} exists; use --overwrite, or name another file")
