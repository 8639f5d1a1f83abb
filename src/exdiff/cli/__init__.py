"""The command `exdiff`: one module a command, each of which imports what it needs only when it runs."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from exdiff import __version__
from exdiff.cli import compare, convert, data, enhance, evaluate, models, recipes, train

app = typer.Typer(
    name="exdiff",
    help="Extract and diffuse: speech and vocal enhancement.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a bug keeps Python's own traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("enhance")(enhance.enhance)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("train")(train.train)
app.command("convert")(convert.convert)
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
    # A terminated run cleans up like an interrupted one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


__all__ = ["app", "main"]
