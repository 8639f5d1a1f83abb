"""`exdiff train`: trains the model of a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import check_folder, finite, reporting, say
from exdiff.cli.completion import recipe_names


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe's name (see `exdiff recipes`) or the path of a .yaml file.",
            autocompletion=recipe_names,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Changes to the recipe, such as training.steps=1000."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the run. Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, callback=finite, metavar="M", help="Save and stop after M minutes.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    profile: Annotated[
        bool, typer.Option("--profile", help="Write to profile.txt where the time of a step goes.")
    ] = False,
) -> None:
    """Train the model of a recipe; under torchrun, on many machines."""
    with reporting():
        from exdiff.core.machine import keep_memory
        from exdiff.core.recipe import Recipe
        from exdiff.training import train as run

        keep_memory()
        chosen = Recipe.load(recipe, overrides or ())
        folder = out or Path("runs") / chosen.name
        check_folder(folder)
        run(chosen, folder, resume=resume, max_minutes=max_minutes, device=device, profile=profile, report=say)
        if os.environ.get("RANK", "0") == "0":
            say(f"the run is in {folder}, the model in {folder / 'model'}")
