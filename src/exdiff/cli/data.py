"""`exdiff data`: what to do once before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import reporting, say

app = typer.Typer(help="Fetch free music, score clips.", no_args_is_help=True, rich_markup_mode=None)


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
