"""What all commands share: their messages, their exit codes, and checks of the paths they write to."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from exdiff.core.errors import ConfigError, ExDiffError

SOME_FAILED = 1
NOTHING_DONE = 2
INTERRUPTED = 130  # the shell's code for a process that SIGINT ended
_NOT = {"int_parsing": "a whole number", "float_parsing": "a number"}

TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Let the checkpoint import and run code that it names. Use it only for checkpoints that you trust.",
    ),
]


class PlainGroup(TyperGroup):
    """Commands whose wrong values are named in plain words; typer passes on those of pydantic."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if hasattr(error.__cause__, "errors"):
                error.message = _in_words(error.__cause__.errors()[0])  # type: ignore[union-attr]
            raise


def _in_words(fault: Mapping[str, Any]) -> str:
    """What pydantic says about a value.

    Example:
        >>> _in_words({"type": "greater_than_equal", "input": "-1", "ctx": {"ge": 0}, "msg": "Input should be ..."})
        '-1 is too small; the least is 0'
        >>> _in_words({"type": "int_parsing", "input": "1.5", "msg": "Input should be ..."})
        "'1.5' is not a whole number"
    """
    given, limits = fault["input"], fault.get("ctx", {})
    for key, words in (("ge", "too small; the least is"), ("le", "too large; the most is")):
        if key in limits:
            return f"{given} is {words} {limits[key]:g}"
    if fault["type"] in _NOT:
        return f"{given!r} is not {_NOT[fault['type']]}"
    return fault["msg"].removeprefix("Value error, ").rstrip(".")


def finite(value: float | None) -> float | None:
    """The callback of an option that is a number without an upper limit."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def say(text: str, prefix: str = "exdiff: ") -> None:
    """One line on standard error; standard output is for results alone."""
    with suppress(OSError):  # the terminal may be gone, which is no reason to stop
        print(f"{prefix}{text}", file=sys.stderr, flush=True)


def debugging() -> bool:
    """Whether EXDIFF_DEBUG is set: errors come with their traceback."""
    return os.environ.get("EXDIFF_DEBUG", "0") not in ("", "0")


@contextmanager
def reporting() -> Iterator[None]:
    """Turn an error of exdiff or of the system into one line and exit code 2; a bug keeps its traceback.

    With EXDIFF_DEBUG=1 the line follows the traceback.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of a pipe has enough, as in `exdiff models | head -1`: no error of ours
    except (ExDiffError, OSError) as error:
        show_traceback(error)
        say(f"error: {one_line(error)}")
        raise typer.Exit(NOTHING_DONE) from None
    except KeyboardInterrupt:
        say("interrupted; unfinished files were removed")
        raise typer.Exit(INTERRUPTED) from None


def one_line(error: ExDiffError | OSError) -> str:
    """The message of an error; for an OSError the file, if it has one, and the system's reason.

    Example:
        >>> one_line(FileNotFoundError(2, "No such file or directory", "songs"))
        "'songs': No such file or directory"
    """
    if isinstance(error, ExDiffError) or error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    files = " -> ".join(repr(str(file)) for file in (error.filename, error.filename2) if file is not None)
    return f"{files}: {error.strerror}" if files else f"the system refused: {error.strerror}"


def show_traceback(error: BaseException) -> None:
    """Print the traceback of `error` and of everything that led to it, if EXDIFF_DEBUG is set."""
    if debugging():
        say(full_traceback(error), prefix="")


def full_traceback(error: BaseException) -> str:
    """The traceback of `error` and of everything that led to it."""
    link: BaseException | None = error
    while link is not None:
        link.__suppress_context__ = False  # `from None` hides the cause from users, not from whoever debugs
        link = link.__cause__ or link.__context__
    return "".join(traceback.format_exception(error)).rstrip()


def named_place(text: str) -> str:
    """A path, but not an empty one: an unset variable of a script would mean the current folder."""
    if not text:
        raise typer.BadParameter("is empty; name a file or a folder, . for the current folder")
    return text


def named_path(text: str) -> Path:
    """The same without a slash at its end."""
    return Path(named_place(text))


def check_new_files(paths: Iterable[Path | None], overwrite: bool) -> None:
    """Raise before any work if a result could not be written, or would replace a file without `overwrite`.

    Raises:
        ConfigError: names the first such file.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if path.is_dir():
            raise ConfigError(f"{str(path)!r} is a folder; name a file")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{str(path)!r} is a device or a pipe; name a file")
        if given.count(path) > 1:
            raise ConfigError(f"{str(path)!r} is asked for twice; name two files")
        check_folder(path.parent)
        if path.exists() and not overwrite:
            raise ConfigError(f"{str(path)!r} exists; use --overwrite, or name another file")


def check_folder(folder: Path) -> None:
    """Raise before any work if `folder`, which need not exist, cannot take files; nothing is left behind.

    Raises:
        ConfigError: the place cannot be written, with the system's reason.
    """
    place = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{str(folder)!r} cannot be written: {str(place)!r} is a file; name another place")
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".exdiff-"):
            pass
    except OSError as error:
        raise ConfigError(f"{str(folder)!r} cannot be written: {error.strerror}; name another place") from None
