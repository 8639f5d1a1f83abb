"""Write the manual page, docs/exdiff.1, from the commands and options that the code declares.

    python scripts/manpage.py

The wheel installs it below share/man/man1. It is plain man(7) in ASCII, so every `man` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commands import EXITS, FILES, VARIABLES, Command, all_commands

from exdiff import __version__

# Hyphens and quotes as they are typed: man(7) reads these characters as typography.
TYPED = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "~": r"\(ti", "^": r"\(ha"})
PAGE = Path(__file__).parents[1] / "docs" / "exdiff.1"


def page() -> str:
    """The manual page."""
    root, *commands = all_commands()
    return "\n".join([
        f'.TH EXDIFF 1 "" "exdiff {__version__}" "User Commands"',
        *(".SH NAME", f"exdiff {escaped('-')} speech and vocal enhancement by a guided diffusion model"),
        *(".SH SYNOPSIS", ".B exdiff", ".I COMMAND", "[\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]"),
        *(".SH DESCRIPTION", *paragraphs(root), ".SH OPTIONS", *parameters(root), ".SH COMMANDS"),
        *(line for command in commands for line in section(command)),
        *(".SH EXIT STATUS", *terms(EXITS), ".SH ENVIRONMENT", *terms(VARIABLES), ".SH FILES", *terms(FILES)),
        "",
    ])  # fmt: skip


def section(command: Command) -> Iterator[str]:
    """What a command does, its arguments and its options."""
    yield f".SS {escaped(f'{command.name} {command.usage}'.strip())}"
    yield from paragraphs(command)
    yield from parameters(command)


def parameters(command: Command) -> Iterator[str]:
    """A paragraph for each argument and option."""
    for parameter in command.parameters:
        names = escaped(", ".join(parameter.names))
        value = f" \\fI{escaped(parameter.value)}\\fR" if parameter.value else ""
        yield from (".TP", f".I {names}" if parameter.is_argument else f"\\fB{names}\\fR{value}")
        yield escaped(parameter.text)


def terms(table: dict[str, str]) -> Iterator[str]:
    """A list of terms and what they mean."""
    for term, text in table.items():
        yield from (".TP", f".B {escaped(term)}", escaped(text))


def paragraphs(command: Command) -> Iterator[str]:
    """What a command does, each paragraph on one line."""
    for number, paragraph in enumerate(command.paragraphs):
        yield from ([".PP"] if number else [])
        yield escaped(paragraph)


def escaped(text: str) -> str:
    r"""Text as man(7) wants it: what is shown can be copied, and no line is taken for a request.

    Example:
        >>> print(escaped(".yaml, with --json"))
        \&.yaml, with \-\-json
    """
    return ("\\&" if text.startswith(".") else "") + text.translate(TYPED)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="ascii")
