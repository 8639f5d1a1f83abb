"""`exdiff batch`: enhances many files of a folder or an object store, on one machine or a cluster."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import TrustCode, named_path, reporting
from exdiff.cli.enhancing import declared
from exdiff.cli.enhancing.options import Options, OutputFormat, RawFormat, chosen_whats, parse_part


class EngineName(StrEnum):
    """Where files are enhanced."""

    local = "local"
    ray = "ray"


def batch(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or a URL as in s3://bucket/in.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A folder or a URL for the results.")],
    engine: Annotated[
        EngineName, typer.Option(help="local: processes of this machine; ray: workers of a Ray cluster.")
    ] = EngineName.local,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Workers; each loads the model, and they share the threads. Default: one per core, or per GPU.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster, as in auto or 10.0.0.1:6379. Default: one of its own."),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Further attempts at files whose worker died or whose store failed."),
    ] = 2,
    model: declared.Model = "speech",
    steps: declared.Steps = None,
    sampler: declared.Sampler = None,
    seed: declared.Seed = 0,
    strength: declared.Strength = 1.0,
    stems: declared.Stems = False,
    stem: declared.OneStem = None,
    name: declared.Name = None,
    format: declared.Format = OutputFormat.same,
    bit_depth: declared.Depth = None,
    bitrate: declared.Bitrate = None,
    stream: declared.Stream = None,
    keep_video: declared.KeepVideo = False,
    strip_metadata: declared.StripMetadata = False,
    salvage: declared.Salvage = False,
    raw: declared.Raw = None,
    device: declared.Device = "auto",
    threads: declared.Threads = None,
    part: declared.Part = None,
    report: Annotated[
        Path | None,
        typer.Option(parser=named_path, metavar="FILE.jsonl", help="Append one JSON object per file."),
    ] = None,
    trust_code: TrustCode = False,
    json: declared.Json = False,
) -> None:
    """Enhance all files of a folder or an object store.

    The tree below SOURCE is mirrored in TARGET. Files whose results exist are skipped, so a run that was interrupted or
    killed goes on where it was when it is started again. What fails in the end is listed in TARGET/failures.jsonl. Exit
    codes: 0 all files done, 1 some files failed or not whole, 2 wrong usage or no file done.
    """
    with reporting():
        from exdiff.checkpoints.checkpoint import is_path

        options = Options(
            model=str(Path(model).absolute()) if is_path(model) else model,  # workers may have another current folder
            loading={"steps": steps, "sampler": sampler, "device": device, "trust_code": trust_code},
            seed=seed,
            strength=strength,
            whats=chosen_whats(stems, stem),
            format=format.value,
            bit_depth=None if bit_depth is None else bit_depth.value,
            bitrate=bitrate,
            name=name,
            stream=stream,
            strip_metadata=strip_metadata,
            keep_video=keep_video,
            salvage=salvage,
            raw=None if raw is None else RawFormat.parse(raw),
            threads=threads,
            skip_existing=True,
            json=json,
        ).check()
        whole = None if part is None else parse_part(part)
        from exdiff.cli.batching.engines import Engine
        from exdiff.cli.batching.run import run_batch

        where = Engine(engine is EngineName.ray, workers, address)
        code = run_batch((source, target), options, where, part=whole, report=report, retries=retries)
    if code:
        raise typer.Exit(code)
