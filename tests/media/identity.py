"""`exdiff enhance` in this process, with a tiny model on disk and the network replaced by the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import typer.testing
from typer.testing import CliRunner

from exdiff.checkpoints import checkpoint
from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.cli import app
from exdiff.core.recipe import Recipe
from exdiff.inference.engine import Engine


def save_tiny_model(folder: Path) -> str:
    torch.manual_seed(0)
    recipe = Recipe.load("debug")
    save_model(build_model(recipe), recipe, folder)
    return str(folder)


# Loading the model and building the command take longer than the rest of a run.
_load_once = cache(checkpoint.load_model)
_command_once = cache(typer.testing._get_command)


def use_identity(setattr: Callable[[Any, str, Any], None], share: float = 1.0) -> None:
    """Replace the work of the engine: windows come back as they are, or `share` of them and the rest as stems."""

    def process(self: Engine, windows: Iterator[torch.Tensor], settings: Any, run: Any) -> Iterator[torch.Tensor]:
        for window in windows:
            run.windows += len(window)
            run.seconds += 1e-9
            first = window * share if settings.stems else window
            yield torch.cat([first, window - first], dim=1) if settings.stems else window

    setattr(Engine, "process", process)
    setattr(checkpoint, "load_model", _load_once)
    setattr(typer.testing, "_get_command", _command_once)


def enhance(arguments: list[Any]) -> tuple[int, str, str, BaseException | None]:
    """Exit code, standard output, standard error, and the exception that was no exit, if any."""
    done = CliRunner().invoke(app, ["enhance", *map(str, arguments), "--device", "cpu"])
    bug = None if done.exception is None or isinstance(done.exception, SystemExit) else done.exception
    return done.exit_code, done.stdout, done.stderr, bug
