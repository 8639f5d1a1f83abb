"""The command `exdiff`: one module per command, which imports what it needs only when it runs."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from exdiff import __version__
from exdiff.cli import batch, compare, convert, data, doctor, enhance, evaluate, export, live, models, recipes, train
from exdiff.cli.common import PlainGroup
from exdiff.cli.demo import command as demo_command
from exdiff.cli.ending import ENDING
from exdiff.core.threads import limit_spinning

_EXAMPLES = """\b
Examples:
  exdiff enhance noisy.wav
  exdiff enhance recordings -o cleaned --strength 0.9
"""

app = typer.Typer(
    name="exdiff",
    cls=PlainGroup,
    help="Extract and diffuse: speech and vocal enhancement.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a bug keeps Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("enhance", epilog=_EXAMPLES)(enhance.enhance)
app.command("batch")(batch.batch)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("train")(train.train)
app.command("convert")(convert.convert)
app.command("export")(export.export)
app.command("live")(live.live)
app.command("demo")(demo_command.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"exdiff {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Extract and diffuse: speech and vocal enhancement."""


def main() -> None:
    """Run the command line."""
    _prepare_streams()
    limit_spinning()
    ENDING.install()
    app()


def _prepare_streams() -> None:
    """Replace closed streams (`2>&-`), whose numbers the next files would get, and what a locale cannot print."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (open to the end)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


__all__ = ["app", "main"]
