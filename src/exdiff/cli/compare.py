"""`exdiff compare`: a web page that shows where systems differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import SOME_FAILED, refuse_existing, reporting, say
from exdiff.cli.evaluate import METRICS_HELP, names_in

PAGE, REPORT = "index.html", "report.json"


def compare(
    data: Annotated[Path, typer.Argument(help="Folder with clean/ and noisy/, or of songs.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html and report.json.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Model, with options as in speech@steps=0; may be repeated. By default speech@steps=0 and speech.",
        ),
    ] = None,
    estimates: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder of another program's results; may be repeated.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Show this file, by its name without suffix; may be repeated."),
    ] = None,
    show: Annotated[int, typer.Option(min=1, help="How many files, those that differ most.")] = 6,
    metrics: Annotated[str | None, typer.Option(metavar="A,B,C", help=METRICS_HELP)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score only so many files, chosen by a fixed seed.")] = None,
    samples: Annotated[
        int, typer.Option(metavar="K", help="Draw K outputs of each model and show its uncertainty.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
) -> None:
    """Write a web page with players, spectrograms, curves, scores and case studies; it needs no network.

    The first two systems are set against each other.
    """
    with reporting():
        page, report = out / PAGE, out / REPORT
        refuse_existing([page, report], overwrite)
        from exdiff import comparison, evaluation
        from exdiff.machine import keep_memory

        keep_memory()
        text, table = comparison.compare(
            data,
            model or ([] if estimates else ["speech@steps=0", "speech"]),
            estimates or (),
            metrics=evaluation.DEFAULT_METRICS if metrics is None else names_in(metrics),
            files=file or (),
            limit=limit,
            shown=show,
            samples=samples,
            workers=workers,
        )
        evaluation.save_json(table, report)
        evaluation.write_whole(page, text)
        for line in table["summary"]:
            typer.echo(line)
        say(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
        failed = [row for row in table["rows"] if "error" in row]
        for row in failed:
            say(f"error: {row['file']}: {row['system']}: {row['error']}")
    if failed:
        raise typer.Exit(SOME_FAILED)
