"""The commands and options that the code declares, in one walk: for the manual page and for the site.

What the code does not declare is listed beside them: exit codes, environment variables and files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from exdiff.cli import app

EXITS = {
    "0": "All done.",
    "1": "Some files failed; each is named on standard error.",
    "2": "Wrong usage, or nothing could be done.",
    "130": "Interrupted; unfinished files were removed.",
}
VARIABLES = {
    "EXDIFF_CACHE": "Folder for what can be downloaded or measured again, instead of ~/.cache/exdiff.",
    "EXDIFF_ALLOW_PIPE": "If 1, shards may come from commands (pipe:...), which are run.",
    "EXDIFF_DEBUG": "If 1, errors come with their traceback.",
    "EXDIFF_DEMO_AUTH": "USER:PASSWORD for exdiff demo, unless --auth gives them.",
    "EXDIFF_PRECISION": "fp32 or bf16, instead of the one that is faster here.",
}
FILES = {
    "~/.cache/exdiff/machine.json": "What was measured on this machine. Delete it to measure again.",
    "~/.cache/exdiff/models": "Installed models.",
}


@dataclass(frozen=True)
class Parameter:
    """An argument or an option.

    Attributes:
        names: as they are typed, such as ("-o", "--out"); of an argument, the name of its value.
        value: what an option takes, such as PATH; empty for a flag and for an argument.
        text: what it does, and its default.
        is_argument: it has no name that is typed.
    """

    names: tuple[str, ...]
    value: str
    text: str
    is_argument: bool


@dataclass(frozen=True)
class Command:
    """A command, or a group of commands.

    Attributes:
        name: in full, such as "exdiff data check"; "exdiff" is the command line itself.
        usage: its arguments as they follow the name, such as RECIPE [key=value]...
        paragraphs: what it does.
        parameters: its arguments and options.
    """

    name: str
    usage: str
    paragraphs: tuple[str, ...]
    parameters: tuple[Parameter, ...]


def all_commands() -> Iterator[Command]:
    """The command line itself, then every command; a group comes before its members.

    Example:
        >>> next(c.usage for c in all_commands() if c.name == "exdiff train")
        'RECIPE [key=value]...'
    """
    yield from _walk("exdiff", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[Command]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    yield Command(
        name,
        " ".join(_usage(argument) for argument in arguments),
        tuple(" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")),
        tuple(_parameter(parameter, command) for parameter in command.params),
    )
    for member, its in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {member}", its)


def _usage(argument: Any) -> str:
    name = _value_name(argument)
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs == -1 else "")


def _parameter(parameter: Any, command: Any) -> Parameter:
    plain = isinstance(parameter.default, str | int | float) and not isinstance(parameter.default, bool)
    default = f" Default: {getattr(parameter.default, 'value', parameter.default)}." if plain else ""
    text = (parameter.help or "") + default
    if parameter.param_type_name == "argument":
        return Parameter((_value_name(parameter),), "", text, True)
    # A choice is shown as `--help` shows it, without its brackets.
    shown = parameter.get_help_record(typer.Context(command))[0].split()[-1].strip("[]<>")
    return Parameter(tuple(parameter.opts), "" if parameter.is_flag else parameter.metavar or shown, text, False)


def _value_name(argument: Any) -> str:
    return argument.metavar or argument.name.upper()
