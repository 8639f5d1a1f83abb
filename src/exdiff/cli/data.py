"""`exdiff data`: what to do once before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, reporting, say

app = typer.Typer(
    help="Check data, make shards, fetch free music, score clips.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def fetch(folder: Annotated[Path, typer.Argument(help="Where music/ and speech/ are made (1.2 GB).")]) -> None:
    """Fetch music and speech from Debian's packages with apt-get download; root is not needed."""
    with reporting():
        from exdiff.data.fetch import fetch_music

        places = fetch_music(folder)
        say(f"{len(places)} folders are below {folder}; recipes find them with EXDIFF_MUSIC={folder}")


@app.command()
def score(
    manifest: Annotated[Path, typer.Argument(help="A manifest.csv of clips.")],
    out: Annotated[Path, typer.Argument(help="The scores, for data.scores of a recipe; continued if it exists.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Score the speech clips of a manifest with DNSMOS, so that clean ones can be preferred as targets."""
    with reporting():
        from exdiff.data.score import score_clips

        say(f"{score_clips(manifest, out, workers)} clips scored into {out}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder in a known layout or of any audio, manifest.csv, or a file.")],
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything as JSON too.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    silence: Annotated[
        float, typer.Option(min=0, max=100, metavar="PERCENT", help="Of a file that may be silent.")
    ] = 90,
) -> None:
    """Report what is wrong with a data set: unreadable, mismatched, clipped, silent or duplicate files, and more.

    Exit code 0 if nothing is, 1 if something is, 2 if no file could be read.
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
    source: Annotated[str, typer.Argument(help="Data set in a known layout, manifest.csv of songs, or a recipe.")],
    out: Annotated[Path, typer.Argument(help="Folder of shards to make.")],
    size: Annotated[float, typer.Option(min=0.001, metavar="MB", help="Of a shard.")] = 500,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the pieces that long files are cut into.")] = 20,
    split: Annotated[str, typer.Option(help="Part of the data set: train, valid or test.")] = "train",
    tiers: Annotated[str, typer.Option(metavar="A,B,C", help="Licences, of a manifest.")] = "A,B",
    examples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Write N examples of the recipe SOURCE, already mixed.")
    ] = None,
) -> None:
    """Write a data set as tar files for object stores and clusters; train on them with data: {type: shards}."""
    with reporting():
        from exdiff.config import Recipe
        from exdiff.data import DATASETS
        from exdiff.data.shards import examples_of, find_source, read_signals, write_shards
        from exdiff.progress import track

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
