"""`exdiff convert`: a published SGMSE checkpoint becomes a folder of weights and recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import reporting, say


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A Lightning checkpoint (.ckpt) of the published SGMSE code.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist, or be empty.")],
) -> None:
    """Convert a published SGMSE checkpoint to safetensors and a recipe.

    Nothing in the checkpoint is run: it is read as data, and refused if it is more than that.
    """
    with reporting():
        from exdiff.checkpoint import load_model, save_model
        from exdiff.errors import CheckpointError

        if not checkpoint.is_file():
            raise CheckpointError(f"{checkpoint} is not a file; give the path of a published checkpoint")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise CheckpointError(f"{out} exists already; give the name of a new folder")
        model, recipe = load_model(checkpoint)
        save_model(model, recipe, out)
        say(f"wrote {out}: {recipe.description}, {recipe.sample_rate} Hz; use it with --model {out}")
