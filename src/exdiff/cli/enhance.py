"""`exdiff enhance`: enhances files, folders and globs."""

from __future__ import annotations

import json as json_format
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, named_path, one_line, reporting, say, show_traceback
from exdiff.core.errors import AudioError, ConfigError, ExDiffError
from exdiff.core.progress import on_terminal

if TYPE_CHECKING:
    from exdiff.cli.enhance_plan import EnhanceTask


class OutputFormat(StrEnum):
    """The formats of results."""

    same = "same"
    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    m4a = "m4a"
    ogg = "ogg"
    opus = "opus"


def enhance(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Audio or video files, folders or globs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=named_path,
            metavar="PATH",
            help="A file with an audio suffix, for one input; otherwise a folder.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="A model's name (see `exdiff models`) or the path of a checkpoint.")
    ] = "speech",
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Sampling steps; 0 gives the discriminative estimate alone. Default: the model's."
        ),
    ] = None,
    sampler: Annotated[str | None, typer.Option(metavar="NAME", help="Sampler. Default: the model's.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Seed of the noise; the same seed gives the same result.")
    ] = 0,
    strength: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="S",
            help="S * result + (1 - S) * input. A model's result may hold some input: `speech` keeps 1 % (floor_db).",
        ),
    ] = 1.0,
    stems: Annotated[
        bool, typer.Option("--stems", help="Write NAME.vocals and NAME.accompaniment; they add up to the input.")
    ] = False,
    format: Annotated[
        OutputFormat, typer.Option(help="Format of the results; same: that of the input.")
    ] = OutputFormat.same,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads. Default: one per core.")] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose results exist.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Let the checkpoint import and run code that it names. Use it only for checkpoints that you trust.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file on standard output.")] = False,
) -> None:
    """Enhance audio.

    Results keep the input's sample rate, channels and length. Without -o they are written beside the input as
    NAME.enhanced.EXT; with -o FOLDER the tree below an input folder is kept. Exit codes: 0 all files done, 1 some
    files failed, 2 wrong usage or no file done.
    """
    if skip_existing and overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite exclude each other")
    with reporting():
        from exdiff.cli.enhance_plan import plan_tasks

        tasks = plan_tasks(inputs, out, format.value, stems)
        pending, failed = _choose(tasks, skip_existing, overwrite)
        if pending:
            options = {"steps": steps, "sampler": sampler, "device": device, "trust_code": trust_code}
            failed += _run(pending, _Settings(model, options, seed, strength, threads, json))
    if failed:
        raise typer.Exit(NOTHING_DONE if failed == len(tasks) else SOME_FAILED)


class _Settings:
    """How all files of a run are enhanced."""

    def __init__(
        self, model: str, options: dict[str, Any], seed: int, strength: float, threads: int | None, json: bool
    ) -> None:
        self.model, self.options, self.seed, self.strength = model, options, seed, strength
        self.threads, self.json = threads, json


def _choose(tasks: list[EnhanceTask], skip_existing: bool, overwrite: bool) -> tuple[list[EnhanceTask], int]:
    """The tasks to run, and the number of those that cannot run because an output exists."""
    pending, failed = [], 0
    for task in tasks:
        try:
            present = [path for path in task.outputs if path.exists()]
        except OSError as error:  # e.g. the name is too long
            failed += 1
            say(f"error: {task.source}: cannot write {task.outputs[0].name}: {error.strerror}")
            continue
        if not present or overwrite:
            pending.append(task)
        elif not skip_existing or len(present) < len(task.outputs):
            failed += 1
            partner = ", the other stem does not" if len(present) < len(task.outputs) else ""
            remedy = "--overwrite" if partner and skip_existing else "--overwrite or --skip-existing"
            say(f"error: {task.source}: {present[0]} exists{partner}; use {remedy}")
    return pending, failed


def _run(tasks: list[EnhanceTask], settings: _Settings) -> int:
    """Enhance all files; returns how many failed."""
    import torch

    from exdiff.cli.enhance_file import enhance_file
    from exdiff.core.machine import keep_memory
    from exdiff.inference.loading import load
    from exdiff.model.samplers import SAMPLERS

    keep_memory()
    if settings.threads is not None:
        most = os.cpu_count() or 1
        if settings.threads > most:  # more threads than cores only wait, and thousands crash
            say(f"warning: --threads {settings.threads}: this machine has {most} cores; using {most} threads")
        torch.set_num_threads(min(settings.threads, most))
    enhancer = load(settings.model, **settings.options)
    sampler = next((name for name, function in SAMPLERS.items() if function is enhancer.sampler), None)
    common = {
        "model": settings.model,
        "sampler": sampler if enhancer.steps else None,
        "steps": enhancer.steps,
        "seed": settings.seed,
        "strength": settings.strength,
    }
    failed = 0
    for number, task in enumerate(tasks, 1):
        title = task.source.name if len(tasks) == 1 else f"{number}/{len(tasks)} {task.source.name}"
        try:
            record = enhance_file(task, enhancer, {"seed": settings.seed, "strength": settings.strength}, title)
        except ConfigError:
            raise  # every file would fail alike
        except BrokenPipeError:
            raise
        except (ExDiffError, OSError) as error:
            failed += 1
            show_traceback(error)
            _report(task, error)
            continue
        if settings.json:
            print(json_format.dumps(record | common), flush=True)
        elif on_terminal():
            say(f"{task.source} -> {', '.join(record['output'])} ({record['rtf']:.3g} x real time)")
    return failed


def _report(task: EnhanceTask, error: ExDiffError | OSError) -> None:
    text = one_line(error)
    named = isinstance(error, AudioError) and text.startswith(f"{task.source}: ")
    say(f"error: {text}" if named else f"error: {task.source}: {text}")
