"""`exdiff data`: preparing data for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, finite, reporting, say

app = typer.Typer(help="Check data, score clips, make shards.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def score(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest.csv of clips.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The scores, for data.scores of a recipe; an existing file is continued."),
    ],
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1,
) -> None:
    """Score the speech clips of a manifest with DNSMOS.

    Clean ones can then be preferred as targets.
    """
    with reporting():
        from exdiff.evaluation.clip_scores import score_clips

        say(f"{score_clips(manifest, out, workers)} clips scored into {out}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Any folder of audio, a manifest.csv, or a file.")],
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the full report as JSON too.")] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1,
    silence: Annotated[
        float, typer.Option(min=0, max=100, metavar="PERCENT", help="Largest part of a file that may be silent.")
    ] = 90,
) -> None:
    """Report what is wrong with a data set.

    Files that are unreadable, mismatched, clipped, silent or duplicates, and more. Exit code 0 if nothing is wrong, 1
    if something is, 2 if no file could be read.
    """
    with reporting():
        from exdiff.data.check import check_data, save_json, to_text

        result = check_data(path, workers=workers, silence=silence / 100)
        if json is not None:
            save_json(result, json)
        typer.echo(to_text(result))
    if result["problems"]:
        readable = any("error" not in row for row in result["rows"])
        raise typer.Exit(SOME_FAILED if readable else NOTHING_DONE)


@app.command()
def shard(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A data set, a manifest.csv of songs, or a recipe.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the shards.")],
    size: Annotated[float, typer.Option(min=0.001, callback=finite, metavar="MB", help="Size of a shard.")] = 500,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, callback=finite, metavar="S", help="Length of the pieces into which long files are cut."),
    ] = 20,
    split: Annotated[str, typer.Option(metavar="NAME", help="Part of the data set: train, valid or test.")] = "train",
    tiers: Annotated[str, typer.Option(metavar="A,B,C", help="Classes of licence to take from a manifest.")] = "A,B",
    examples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Write N mixed examples of the recipe SOURCE.")
    ] = None,
) -> None:
    """Write a data set as tar files for object stores and clusters. Train on them with data: {type: shards}."""
    with reporting():
        from exdiff.core.progress import track
        from exdiff.core.recipe import Recipe
        from exdiff.data.datasets import DATASETS
        from exdiff.data.shards import examples_of, find_source, read_signals, write_shards

        if examples is not None:
            kind, samples = (
                "pairs",
                track(examples_of(Recipe.load(source), examples, DATASETS), "mixing", total=examples),
            )
        else:
            kind, items = find_source(Path(source), split=split, tiers=[tier.strip() for tier in tiers.split(",")])
            samples = read_signals(track(items, "writing shards"), seconds)
        index = write_shards(samples, out, kind=kind, size_mb=size)
        minutes = index["seconds"] / 60
        say(f"{index['samples']} samples, {minutes:.1f} minutes, in {len(index['shards'])} shards are in {out}")
