"""`exdiff evaluate`: models and folders of estimates, scored on pairs of clean and noisy files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, check_new_files, named_path, reporting, say
from exdiff.cli.completion import model_names

METRICS_HELP = (
    "Any of si_sdr, sdr (for songs), pesq, pesq_nb, estoi, dnsmos, log_wmse, wer, speaker. "
    "Default: si_sdr,pesq,estoi,dnsmos."
)


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            parser=named_path, metavar="DATA", help="Folder with clean/ and noisy/, folder of songs, or MUSDB18."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Model, with options as in speech@steps=0,seed=1; repeat it for more. Default: speech.",
            autocompletion=model_names,
        ),
    ] = None,
    estimates: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder with another program's results; repeat it for more."),
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="A,B,C", help=METRICS_HELP)] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Use N files only, drawn with a fixed seed.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes that compute the scores.")] = 1,
    samples: Annotated[
        int,
        typer.Option(metavar="K", help="Draw K outputs of each model and report its uncertainty, second by second."),
    ] = 0,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write everything as JSON. An interrupted run continues from FILE.jsonl."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the scores of each file as CSV.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the tables to a file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Score models and folders of estimates against clean references.

    To continue an interrupted run with --json, give the same command again.
    """
    with reporting():
        check_new_files([json, csv, markdown], overwrite)
        from exdiff import evaluation
        from exdiff.core.machine import keep_memory

        keep_memory()
        journal = None if json is None else json.with_name(f"{json.name}.jsonl")
        if journal is not None and journal.exists():
            say(f"continuing from {journal}")
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
        typer.echo(table)  # before the files, which a full disk may refuse
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
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
