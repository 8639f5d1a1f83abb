"""`exdiff train`: a recipe in, a checkpoint out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import reporting, say


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (see `exdiff recipes`), or the path of a .yaml file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value]...", help="Changes, such as training.steps=1000.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/RECIPE by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop, saved, after so many minutes.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    profile: Annotated[bool, typer.Option("--profile", help="Write where a step's time goes to profile.txt.")] = False,
) -> None:
    """Train a recipe, on this machine or, started by torchrun, on many."""
    with reporting():
        from exdiff.config import Recipe
        from exdiff.machine import keep_memory
        from exdiff.training import train as run

        keep_memory()
        chosen = Recipe.load(recipe, overrides or ())
        folder = out or Path("runs") / chosen.name
        run(chosen, folder, resume=resume, max_minutes=max_minutes, device=device, profile=profile, report=say)
        if os.environ.get("RANK", "0") == "0":
            say(f"the run is in {folder}, its model in {folder / 'model'}")
