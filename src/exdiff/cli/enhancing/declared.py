"""The options that `exdiff enhance` and `exdiff batch` share, as typer reads them from a signature."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import named_path
from exdiff.cli.completion import model_names, sampler_names
from exdiff.cli.enhancing.options import BitDepth, OutputFormat, Stem


def parse_strength(text: str) -> float:
    """Read a number from 0 to 1.

    Raises:
        typer.BadParameter: it is another one, a percentage for example.

    Example:
        >>> parse_strength("0.8")
        0.8
    """
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise typer.BadParameter(f"{text} is not a number from 0 to 1; 0.8 keeps a fifth of the input")


Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help="A model's name (see `exdiff models`) or the path of a checkpoint.",
        autocompletion=model_names,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="N", help="Sampling steps; 0 gives the discriminative estimate alone. Default: the model's."
    ),
]
Sampler = Annotated[
    str | None, typer.Option(metavar="NAME", help="Sampler. Default: the model's.", autocompletion=sampler_names)
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the noise; the same seed gives the same result.")]
Strength = Annotated[
    float,
    typer.Option(
        parser=parse_strength,
        metavar="S",
        help="S * result + (1 - S) * input, with S from 0 to 1. A model's result may hold some input: `speech` keeps "
        "1 % (floor_db).",
    ),
]
Stems = Annotated[
    bool, typer.Option("--stems", help="Write NAME.vocals and NAME.accompaniment; they add up to the input.")
]
OneStem = Annotated[Stem | None, typer.Option(help="Write only this stem.")]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Names of results, as in {stem}.{what}{suffix}: the input's name without its suffix, what it is "
        "(enhanced, vocals, accompaniment), the result's suffix; {ext} is the input's suffix without its dot.",
    ),
]
Format = Annotated[
    OutputFormat, typer.Option(help="Format of the results; same: codec, depth and bit rate of the input.")
]
Depth = Annotated[BitDepth | None, typer.Option(help="Sample format of PCM and lossless results.")]
Bitrate = Annotated[int | None, typer.Option(min=1, metavar="K", help="Bit rate of lossy results, kbit/s.")]
Stream = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Audio stream, from 0. Default: the file's default.")
]
KeepVideo = Annotated[
    bool, typer.Option("--keep-video", help="Keep the picture of videos, untouched, with the new sound.")
]
StripMetadata = Annotated[bool, typer.Option("--strip-metadata", help="Write no tags, cover, chapters or marks.")]
Salvage = Annotated[
    bool,
    typer.Option("--salvage", help="Rescue what can be decoded of damaged files; exit code 1 if some is lost."),
]
Raw = Annotated[
    str | None,
    typer.Option(metavar="FORMAT,RATE,CHANNELS", help="Inputs are raw PCM, as in s16le,48000,2."),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads. Default: one per core.")]
Part = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Do part I of N: N machines with one command each share a folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per file on standard output.")]

Report = Annotated[
    Path | None,
    typer.Option(
        parser=named_path,
        metavar="FILE.jsonl",
        help="Append one JSON object per file; files that it lists as done are skipped.",
    ),
]
