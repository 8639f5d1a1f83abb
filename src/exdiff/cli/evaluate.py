"""`exdiff evaluate`: models and folders of estimates, scored on pairs of clean and noisy files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, named_path, refuse_existing, reporting, say

METRICS_HELP = "si_sdr, sdr (songs), pesq, pesq_nb, estoi, dnsmos, log_wmse, wer, speaker."


def evaluate(
    data: Annotated[
        Path, typer.Argument(parser=named_path, help="Folder with clean/ and noisy/, or of songs, or MUSDB18.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|PATH", help="Model, with options as in speech@steps=0,seed=1; may be repeated."),
    ] = None,
    estimates: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder of another program's results; may be repeated.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B,C", help=METRICS_HELP)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many files, chosen by a fixed seed.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    samples: Annotated[
        int, typer.Option(metavar="K", help="Draw K outputs of each model and tell its uncertainty, second by second.")
    ] = 0,
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write everything as JSON too; an interrupted run goes on from FILE.jsonl."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV too.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the tables into a file too.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Score models and folders of estimates against clean references.

    The same command again goes on where an interrupted run with --json stopped.
    """
    with reporting():
        refuse_existing([json, csv, markdown], overwrite)
        from exdiff import evaluation
        from exdiff.machine import keep_memory

        keep_memory()
        journal = None if json is None else json.with_name(f"{json.name}.jsonl")
        if journal is not None and journal.exists():
            say(f"going on from {journal}")
        result = evaluation.evaluate(
            data,
            model or ([] if estimates else ["speech"]),
            estimates or (),
            evaluation.DEFAULT_METRICS if metrics is None else names_in(metrics),
            limit,
            workers,
            samples=samples,
            journal=journal,
        )
        table = evaluation.to_markdown(result)
        typer.echo(table)  # first: it must not be lost with a disk that is full
        if json is not None and journal is not None:
            evaluation.save_json(result, json)
            journal.unlink(missing_ok=True)
        if csv is not None:
            evaluation.save_csv(result, csv)
        if markdown is not None:
            evaluation.write_whole(markdown, table + "\n")
        failed = [row for row in result["rows"] if "error" in row]
        for row in failed:
            reason = row["error"].removeprefix(f"{row['file']}: ")
            say(f"error: {row['file']}: {row['system']}: {reason}")
    if failed:
        raise typer.Exit(NOTHING_DONE if len(failed) == len(result["rows"]) else SOME_FAILED)


def names_in(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
