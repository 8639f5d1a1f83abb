"""Write the manual page, docs/exdiff.1, from the commands and options that the code declares.

    python scripts/manpage.py

The wheel installs it below share/man/man1. It is plain man(7) in ASCII, so every `man` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from exdiff import __version__
from exdiff.cli import app

# Hyphens and quotes as they are typed: man(7) reads these characters as typography.
TYPED = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "~": r"\(ti", "^": r"\(ha"})
PAGE = Path(__file__).parents[1] / "docs" / "exdiff.1"
EXITS = {
    "0": "All done.",
    "1": "Some files failed; each is named on standard error.",
    "2": "Wrong usage, or nothing could be done.",
    "130": "Interrupted; unfinished files were removed.",
}
VARIABLES = {
    "EXDIFF_CACHE": "Folder for what can be downloaded or measured again, instead of ~/.cache/exdiff.",
    "EXDIFF_DEBUG": "If 1, errors come with their traceback.",
    "EXDIFF_PRECISION": "fp32 or bf16, instead of the one that is faster here.",
}
FILES = {
    "~/.cache/exdiff/machine.json": "What was measured on this machine. Delete it to measure again.",
    "~/.cache/exdiff/models": "Installed models.",
}


def page() -> str:
    """The manual page."""
    root = typer.main.get_command(app)
    return "\n".join([
        f'.TH EXDIFF 1 "" "exdiff {__version__}" "User Commands"',
        *(".SH NAME", f"exdiff {escaped('-')} speech and vocal enhancement by a guided diffusion model"),
        *(".SH SYNOPSIS", ".B exdiff", ".I COMMAND", "[\\fIOPTION\\fR ...] [\\fIARGUMENT\\fR ...]"),
        *(".SH DESCRIPTION", escaped(root.help or ""), ".SH OPTIONS", *parameters(root), ".SH COMMANDS"),
        *(line for name, command in commands(root) for line in section(name, command)),
        *(".SH EXIT STATUS", *terms(EXITS), ".SH ENVIRONMENT", *terms(VARIABLES), ".SH FILES", *terms(FILES)),
        "",
    ])  # fmt: skip


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name; a group before its members."""
    for name, command in group.commands.items():
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")


def section(name: str, command: Any) -> Iterator[str]:
    """What a command does, its arguments and its options."""
    arguments = [usage(p) for p in command.params if p.param_type_name == "argument"]
    yield f".SS {escaped(' '.join(['exdiff', name, *arguments]))}"
    yield from paragraphs(command.help or "")
    yield from parameters(command)


def usage(argument: Any) -> str:
    """An argument in the first line of its command, as in [key=value]...

    Example:
        >>> command = dict(commands(typer.main.get_command(app)))["train"]
        >>> [usage(p) for p in command.params if p.param_type_name == "argument"]
        ['RECIPE', '[key=value]...']
    """
    name = argument.metavar or argument.name.upper()
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs == -1 else "")


def parameters(command: Any) -> Iterator[str]:
    """A paragraph for each argument and option."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield from (".TP", f".I {escaped(parameter.metavar or parameter.name.upper())}")
        else:
            value = "" if parameter.is_flag else f" \\fI{escaped(value_of(parameter, command))}\\fR"
            yield from (".TP", f"\\fB{escaped(', '.join(parameter.opts))}\\fR{value}")
        plain = isinstance(parameter.default, str | int | float) and not isinstance(parameter.default, bool)
        default = f" Default: {getattr(parameter.default, 'value', parameter.default)}." if plain else ""
        yield escaped((parameter.help or "") + default)


def value_of(option: Any, command: Any) -> str:
    """What an option takes: the name of its value, or its choices as `--help` shows them, without brackets."""
    shown = option.get_help_record(typer.Context(command))[0].split()[-1]
    return option.metavar or shown.strip("[]<>")


def terms(table: dict[str, str]) -> Iterator[str]:
    """A list of terms and what they mean."""
    for term, text in table.items():
        yield from (".TP", f".B {escaped(term)}", escaped(text))


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring, each on one line."""
    for number, paragraph in enumerate(text.split("\n\n")):
        yield from ([".PP"] if number else [])
        yield escaped(" ".join(paragraph.split()))


def escaped(text: str) -> str:
    r"""Text as man(7) wants it: what is shown can be copied, and no line is taken for a request.

    Example:
        >>> print(escaped(".yaml, with --json"))
        \&.yaml, with \-\-json
    """
    return ("\\&" if text.startswith(".") else "") + text.translate(TYPED)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="ascii")
