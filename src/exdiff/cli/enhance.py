"""`exdiff enhance`: enhances files, folders, globs and pipes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, TrustCode, check_new_files, named_path, reporting, say
from exdiff.cli.completion import model_names, sampler_names
from exdiff.cli.enhancing.options import (
    BitDepth,
    Options,
    OutputFormat,
    RawFormat,
    Stem,
    chosen_whats,
    parse_part,
)
from exdiff.core.progress import on_terminal

if TYPE_CHECKING:
    from exdiff.cli.enhancing.plan import EnhanceTask, Plan
    from exdiff.cli.enhancing.report import Ledger
    from exdiff.cli.enhancing.run import Marks


def enhance(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Audio or video files, folders or globs; - is standard input.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            parser=named_path,
            metavar="PATH",
            help="A file with an audio suffix, for one input; otherwise a folder. - is standard output.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="A model's name (see `exdiff models`) or the path of a checkpoint.",
            autocompletion=model_names,
        ),
    ] = "speech",
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Sampling steps; 0 gives the discriminative estimate alone. Default: the model's."
        ),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="Sampler. Default: the model's.", autocompletion=sampler_names)
    ] = None,
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
    stem: Annotated[Stem | None, typer.Option(help="Write only this stem.")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Names of results, as in {stem}.{what}{suffix}: the input's name without its suffix, what it is "
            "(enhanced, vocals, accompaniment), the result's suffix; {ext} is the input's suffix without its dot.",
        ),
    ] = None,
    format: Annotated[
        OutputFormat, typer.Option(help="Format of the results; same: codec, depth and bit rate of the input.")
    ] = OutputFormat.same,
    bit_depth: Annotated[BitDepth | None, typer.Option(help="Sample format of PCM and lossless results.")] = None,
    bitrate: Annotated[int | None, typer.Option(min=1, metavar="K", help="Bit rate of lossy results, kbit/s.")] = None,
    stream: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Audio stream, from 0. Default: the file's default.")
    ] = None,
    keep_video: Annotated[
        bool, typer.Option("--keep-video", help="Keep the picture of videos, untouched, with the new sound.")
    ] = False,
    strip_metadata: Annotated[
        bool, typer.Option("--strip-metadata", help="Write no tags, cover, chapters or marks.")
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Rescue what can be decoded of damaged files; exit code 1 if some is lost."),
    ] = False,
    raw: Annotated[
        str | None,
        typer.Option(metavar="FORMAT,RATE,CHANNELS", help="Inputs are raw PCM, as in s16le,48000,2."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads. Default: one per core.")] = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, max=256, metavar="N", help="Processes; each loads the model, and they share the threads."),
    ] = 1,
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do part I of N: N machines with one command each share a folder."),
    ] = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose results exist.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            parser=named_path,
            metavar="FILE.jsonl",
            help="Append one JSON object per file; files that it lists as done are skipped.",
        ),
    ] = None,
    trust_code: TrustCode = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file on standard output.")] = False,
) -> None:
    """Enhance audio.

    Results keep the input's sample rate, channels and length, its format and its tags. Without -o they are written
    beside the input as NAME.enhanced.EXT; with -o FOLDER the tree below an input folder is kept. Several runs may work
    on one folder; none does a file that another is doing. Exit codes: 0 all files done, 1 some files failed or not
    whole, 2 wrong usage or no file done.
    """
    with reporting():
        options = Options(
            model=model,
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
            jobs=jobs,
            skip_existing=skip_existing,
            overwrite=overwrite,
            json=json,
        ).check()
        code = _run(inputs, out, options, None if part is None else parse_part(part), report)
    if code:
        raise typer.Exit(code)


def _run(
    inputs: Sequence[str], out: Path | None, options: Options, part: tuple[int, int] | None, report: Path | None
) -> int:
    """Plan and do the work; returns the exit code."""
    from exdiff.cli.enhancing.plan import plan_tasks
    from exdiff.cli.enhancing.report import FAILED, SALVAGED, Ledger

    plan = plan_tasks(inputs, out, options)
    if plan.passed_over:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(plan.passed_over.items()))
        say(f"warning: {plan.passed_over.total()} files are not read because of their suffix: {kinds}")
    if part is not None:
        plan = plan.part(*part)
        if not plan.tasks:
            say(f"part {part[0]}/{part[1]} has no files")
    check_new_files([report], overwrite=True)
    with closing(Ledger(report, to_stdout=options.json, verbose=on_terminal())) as ledger:
        ledger.common = {"model": options.model, "seed": options.seed, "strength": options.strength}
        work = _choose(plan, options, ledger)
        if len(work) > 1 and options.jobs > 1:
            from exdiff.cli.enhancing.jobs import run_in_processes

            run_in_processes(work, options, ledger)
        elif work:
            _run_here(work, options, ledger)
    if ledger.counts[FAILED]:
        return NOTHING_DONE if ledger.counts[FAILED] == len(plan.tasks) else SOME_FAILED
    return SOME_FAILED if ledger.counts[SALVAGED] else 0


def _run_here(work: list[tuple[EnhanceTask, Marks]], options: Options, ledger: Ledger) -> None:
    """In this process: one file after the other or, where that fills a GPU, several at once."""
    from exdiff.cli.enhancing.plan import is_pipe
    from exdiff.cli.enhancing.readers import run_in_threads
    from exdiff.cli.enhancing.run import Runner, run_serially, thread_count

    runner = Runner(options, thread_count(options.threads))
    ledger.common = runner.common
    # A thread that waits for a pipe cannot be interrupted.
    several = runner.together and len(work) > 1 and not any(is_pipe(task.source) for task, _ in work)
    (run_in_threads if several else run_serially)(work, runner, options, ledger)


def _choose(plan: Plan, options: Options, ledger: Ledger) -> list[tuple[EnhanceTask, Marks]]:
    """The tasks to run, with what their outputs are now; the others are entered in the ledger."""
    from exdiff.cli.enhancing.report import FAILED, SKIPPED, Outcome
    from exdiff.cli.enhancing.run import marks_of

    chosen = []
    for task in plan.tasks:
        if reason := plan.refused.get(task.source):
            ledger.add(Outcome.of(task, FAILED, error=reason, collision=True))
            continue
        try:
            marks = marks_of(task)
        except OSError as error:  # e.g. the name is too long
            why = f"cannot write {task.outputs[0].name}: {error.strerror}"
            ledger.add(Outcome.of(task, FAILED, error=why))
            continue
        present = [path for path, mark in zip(task.outputs, marks, strict=True) if mark is not None]
        if present and ledger.finished_before(task) and not options.overwrite:
            ledger.add(Outcome.of(task, SKIPPED, error="done before, as the report says"))
        elif not present or options.overwrite:
            chosen.append((task, marks))
        elif options.skip_existing and len(present) == len(task.outputs):
            ledger.add(Outcome.of(task, SKIPPED, error="its results exist"))
        else:
            partner = ", the other stem does not" if len(present) < len(task.outputs) else ""
            remedy = "--overwrite" if partner and options.skip_existing else "--overwrite or --skip-existing"
            ledger.add(Outcome.of(task, FAILED, error=f"{present[0]} exists{partner}; use {remedy}"))
    return chosen
