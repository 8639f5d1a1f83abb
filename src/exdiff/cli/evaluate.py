"""`exdiff evaluate`: models and folders of estimates, scored on pairs of clean and noisy files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, reporting, say


def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder with clean/ and noisy/, or of songs.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|PATH", help="Model, with options as in speech@steps=0,seed=1; may be repeated."),
    ] = None,
    estimates: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder of another program's results; may be repeated.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B,C", help="si_sdr, pesq, estoi, dnsmos.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many files, chosen by a fixed seed.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything as JSON too.")] = None,
) -> None:
    """Score models and folders of estimates against clean references."""
    with reporting():
        from exdiff import evaluation
        from exdiff.machine import keep_memory

        keep_memory()

        names = tuple(name.strip() for name in metrics.split(",") if name.strip()) if metrics is not None else None
        models = model or ([] if estimates else ["speech"])
        result = evaluation.evaluate(
            data, models, estimates or (), evaluation.DEFAULT_METRICS if names is None else names, limit, workers
        )
        if json is not None:
            evaluation.save_json(result, json)
        typer.echo(evaluation.to_markdown(result))
        failed = [row for row in result["rows"] if "error" in row]
        for row in failed:
            say(f"error: {row['file']}: {row['system']}: {row['error']}")
    if failed:
        raise typer.Exit(NOTHING_DONE if len(failed) == len(result["rows"]) else SOME_FAILED)
