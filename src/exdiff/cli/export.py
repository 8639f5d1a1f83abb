"""`exdiff export`: writes a model as an ONNX file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from exdiff import __version__
from exdiff.cli.common import TrustCode, check_new_files, named_path, reporting, say
from exdiff.cli.completion import model_names


def export(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A model's name or the path of a checkpoint.", autocompletion=model_names),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.", parser=named_path)],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            min=0,
            help="Steps of the model's sampler instead of its own number; 0 is the extractor alone.",
        ),
    ] = None,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts",
            help="Write OUT.extractor.onnx, OUT.score.onnx and OUT.waveform.onnx instead, for a sampler of your own.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    trust_code: TrustCode = False,
) -> None:
    """Write a model as an ONNX file.

    The file runs without PyTorch and exdiff. It takes a recording at the model's sample rate, of any length, and
    returns the enhanced one. It is run once with ONNX Runtime, and written only if it does what the model does.
    """
    with reporting():
        from exdiff.checkpoints.checkpoint import load_recipe
        from exdiff.checkpoints.export import export as write
        from exdiff.checkpoints.export import paths
        from exdiff.inference.loading import load
        from exdiff.inference.windows import Grid

        check_new_files(paths(out, parts), overwrite)
        # What the command `enhance` would use, with its checks.
        enhancer = load(name, steps=steps, device="cpu", precision="fp32", trust_code=trust_code)
        recipe, model = load_recipe(name), enhancer.model
        grid = Grid.of_seconds(enhancer.segment_seconds, enhancer.overlap_seconds, 0, model.sample_rate)
        grid = grid.aligned(Fraction(model.alignment))
        details = {"exdiff": __version__, "window_samples": grid.length, "hop_samples": grid.hop}
        for file in write(model, recipe, out, steps=enhancer.steps, parts=parts, details=details):
            megabytes = file.path.stat().st_size / 1e6
            say(
                f"wrote {file.path}: {', '.join(file.inputs)} -> {', '.join(file.outputs)}, {megabytes:.1f} MB, "
                f"differs from PyTorch by {file.deviation_db:.0f} dB; licence of the weights: {recipe.licence}"
            )
