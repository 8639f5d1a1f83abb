"""`exdiff convert`: turns a published SGMSE checkpoint into a folder with weights and recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import check_folder, reporting, say


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A Lightning checkpoint (.ckpt) of the published SGMSE code.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write: new or empty.")],
) -> None:
    """Convert a published SGMSE checkpoint.

    Writes safetensors and a recipe. The checkpoint is read as data; one that asks to run code is refused.
    """
    with reporting():
        from exdiff.checkpoints.checkpoint import load_model, save_model
        from exdiff.core.errors import CheckpointError

        if not checkpoint.is_file():
            raise CheckpointError(f"{checkpoint} is not a file; give the path of a published checkpoint")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise CheckpointError(f"{out} exists already; give the name of a new folder")
        check_folder(out)
        model, recipe = load_model(checkpoint.absolute())  # never a model's name
        save_model(model, recipe, out)
        say(f"wrote {out}: {recipe.description}, {recipe.sample_rate} Hz; use it with --model {out}")
