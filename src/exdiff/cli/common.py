"""What all commands share: how they speak and how they end."""

from __future__ import annotations

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
    except KeyboardInterrupt:
        say("interrupted; unfinished files were removed")
        raise typer.Exit(INTERRUPTED) from None


def refuse_existing(paths: Iterable[Path | None], overwrite: bool) -> None:
    """Raise before any work if a result would replace a file that nobody asked to replace.

    Raises:
        ConfigError: names the first such file.
    """
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise ConfigError(f"{str(path)!r} exists; use --overwrite, or name another file")
