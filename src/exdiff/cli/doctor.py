"""`exdiff doctor`: what a bug report needs, and whether enhancing works on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exdiff.cli.common import SOME_FAILED, one_line
from exdiff.core.errors import ExDiffError

if TYPE_CHECKING:
    from exdiff.cli.diagnosis import Fact


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show what a bug report needs, and whether enhancing works here.

    Versions, processor, precision and why, models, free memory, missing extras, and a small trial. Paths begin with ~
    where they are in your home folder; nothing else in it is private. Exit codes: 0 all that enhancing needs works,
    1 something does not.
    """
    from exdiff.cli.diagnosis import SECTIONS

    sections: dict[str, dict[str, str]] = {}
    problems = []
    show = (lambda text: None) if json else partial(typer.echo, nl=False)
    for title, section in SECTIONS.items():
        show(f"{title}:\n")
        sections[title] = {}
        for fact in _facts(section):
            show(f"  {fact.name + ':':<15} ")  # before it is found: a crash then tells where
            text, works = _find(fact)
            show(f"{text}\n")
            sections[title][fact.name] = text
            if fact.needed and not works:
                problems.append(f"{title}: {fact.name}")
    if json:
        from json import dumps

        typer.echo(dumps({**sections, "ok": not problems, "problems": problems}, indent=2))
    show(f"broken: {', '.join(problems)}\n" if problems else "all that enhancing needs works\n")
    if problems:
        raise typer.Exit(SOME_FAILED)


def _facts(section: Callable[[], Iterator[Fact]]) -> Iterator[Fact]:
    """The facts of a section; a broken one instead of those that cannot even be listed."""
    try:
        yield from section()
    except Exception as error:
        from exdiff.cli.diagnosis import Fact

        yield Fact("all", partial(_raise, error), needed=True)


def _raise(error: Exception) -> str:
    raise error


def _find(fact: Fact) -> tuple[str, bool]:
    """The text of a fact, and whether it was found."""
    try:
        return public(fact.find()), True
    except (ExDiffError, OSError) as error:
        return public(f"BROKEN: {one_line(error)}"), False
    except Exception as error:
        return public(f"BROKEN: {type(error).__name__}: {' '.join(str(error).split())}"), False


def public(text: str) -> str:
    """`text` with ~ for the home folder, whose name is a person's.

    Example:
        >>> public(f"{Path.home() / 'noisy.wav'}, /mnt{Path.home()}") == f"{Path('~/noisy.wav')}, /mnt{Path.home()}"
        True
    """
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the password file
        return text
    for place in {home, home.resolve()} - {Path("/")}:
        for spelling in (str(place), repr(str(place))[1:-1]):  # as it is, and with doubled backslashes
            text = re.sub(rf"(?<![\w.~/\\-]){re.escape(spelling)}(?![\w.-])", "~", text)
    return text
