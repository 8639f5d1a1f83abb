"""`exdiff enhance`: files, folders and globs in; the same, enhanced, out."""

from __future__ import annotations

import json as json_format
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, named_path, reporting, say
from exdiff.errors import AudioError, ConfigError, ExDiffError

if TYPE_CHECKING:
    from exdiff.cli.plan import Task


class OutputFormat(StrEnum):
    """What can be written."""

    same = "same"
    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    m4a = "m4a"
    ogg = "ogg"
    opus = "opus"


def enhance(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Audio or video files, folders, globs.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", parser=named_path, help="A file, for one input and an audio suffix; otherwise a folder."
        ),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|PATH", help="A model by name, or a checkpoint.")] = "speech",
    steps: Annotated[
        int | None, typer.Option(min=0, help="Of the sampler; 0 gives the discriminative estimate alone.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="Instead of the model's own.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise; the same seed gives the same result.")] = 0,
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, help="1 is the result alone, 0 the input alone.")] = 1.0,
    stems: Annotated[
        bool, typer.Option("--stems", help="Write NAME.vocals and NAME.accompaniment; they add up to the input.")
    ] = False,
    format: Annotated[OutputFormat, typer.Option(help="Of the results.")] = OutputFormat.same,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor; all by default.")] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave results alone that exist.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run code that the checkpoint names; only if you know its origin.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a file on standard output.")] = False,
) -> None:
    """Enhance audio.

    Results have the input's rate, channels and length. Without -o they are written beside the input as
    NAME.enhanced.EXT; below a folder OUT the input's tree is mirrored. Exit codes: 0 all done, 1 some files failed,
    2 wrong usage or nothing could be done.
    """
    if skip_existing and overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite exclude each other")
    with reporting():
        from exdiff.cli.plan import plan

        tasks = plan(inputs, out, format.value, stems)
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


def _choose(tasks: list[Task], skip_existing: bool, overwrite: bool) -> tuple[list[Task], int]:
    """The tasks to run, and how many cannot because their output is in the way."""
    pending, failed = [], 0
    for task in tasks:
        try:
            present = [path for path in task.outputs if path.exists()]
        except OSError as error:  # a name that is too long, say
            failed += 1
            say(f"error: {task.source}: cannot write {task.outputs[0].name}: {error.strerror}")
            continue
        if not present or overwrite:
            pending.append(task)
        elif not skip_existing or len(present) < len(task.outputs):
            failed += 1
            partner = ", its partner does not" if len(present) < len(task.outputs) else ""
            remedy = "--overwrite" if partner and skip_existing else "--overwrite or --skip-existing"
            say(f"error: {task.source}: {present[0]} exists{partner}; use {remedy}")
    return pending, failed


def _run(tasks: list[Task], settings: _Settings) -> int:
    """Enhance all; the number of files that failed."""
    import torch

    from exdiff.cli.work import enhance_file
    from exdiff.enhancer import load
    from exdiff.machine import keep_memory
    from exdiff.samplers import SAMPLERS

    keep_memory()
    if settings.threads is not None:
        most = os.cpu_count() or 1
        if settings.threads > most:  # they would only wait for each other; thousands crash
            say(f"warning: --threads {settings.threads}: this machine has {most}, which are used")
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
            raise  # it would be the same for every file
        except ExDiffError as error:
            failed += 1
            _report(task, error)
            continue
        if settings.json:
            print(json_format.dumps(record | common), flush=True)
        elif sys.stderr.isatty():
            say(f"{task.source} -> {', '.join(record['output'])} ({record['rtf']:.3g} x real time)")
    return failed


def _report(task: Task, error: ExDiffError) -> None:
    text = str(error)
    named = isinstance(error, AudioError) and text.startswith(f"{task.source}: ")
    say(f"error: {text}" if named else f"error: {task.source}: {text}")
