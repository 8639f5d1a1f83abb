"""`exdiff compare`: writes a web page that shows where systems differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import SOME_FAILED, check_new_files, reporting, say
from exdiff.cli.completion import model_names
from exdiff.cli.evaluate import METRICS_HELP, names_in

PAGE, REPORT = "index.html", "report.json"


def compare(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with clean/ and noisy/, folder of songs, or MUSDB18.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write index.html and report.json to.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Model, with options as in speech@steps=0; repeat it for more. Default: speech@steps=0 and speech.",
            autocompletion=model_names,
        ),
    ] = None,
    estimates: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder with another program's results; repeat it for more."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Show this file, named without its suffix; repeat it for more."),
    ] = None,
    show: Annotated[
        int, typer.Option(min=1, metavar="N", help="Show the N files in which the systems differ most.")
    ] = 6,
    metrics: Annotated[str | None, typer.Option(metavar="A,B,C", help=METRICS_HELP)] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Score N files only, drawn with a fixed seed.")
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="K", help="Draw K outputs of each model and show its uncertainty.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that compute the scores.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
) -> None:
    """Write a web page that compares systems.

    It has players, spectrograms, curves, scores and case studies, and loads nothing from the network. The first two
    systems are compared with each other in detail.
    """
    with reporting():
        page, report = out / PAGE, out / REPORT
        check_new_files([page, report], overwrite)
        from exdiff import evaluation
        from exdiff.core.machine import keep_memory
        from exdiff.evaluation import comparison

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
