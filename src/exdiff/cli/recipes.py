"""`exdiff recipes`: the recipes in the package."""

from __future__ import annotations

from typing import Annotated

import typer

from exdiff.cli.common import reporting
from exdiff.cli.completion import recipe_names

app = typer.Typer(help="List the recipes, or show one.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """List names and descriptions."""
    with reporting():
        from exdiff.core.recipe import Recipe, names

        table = [(name, Recipe.load(name).description) for name in names()]
        width = max((len(name) for name, _ in table), default=0)
        for name, description in table:
            typer.echo(f"{name:<{width}}  {description}".rstrip())


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A recipe's name or the path of a .yaml file.", autocompletion=recipe_names
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key=value", help="Changes to apply, such as training.steps=1000.")
    ] = None,
) -> None:
    """Show a recipe as YAML, with its base and the changes merged in."""
    with reporting():
        import yaml

        from exdiff.core.recipe import Recipe

        typer.echo(yaml.safe_dump(Recipe.load(name, overrides or ()).to_dict(), sort_keys=False), nl=False)
