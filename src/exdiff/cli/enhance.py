"""`exdiff enhance`: enhances files, folders, globs and pipes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, TrustCode, check_new_files, named_place, reporting, say
from exdiff.cli.enhancing import declared
from exdiff.cli.enhancing.options import Options, OutputFormat, RawFormat, chosen_whats, parse_part
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
        str | None,
        typer.Option(
            "-o",
            "--out",
            parser=named_place,
            metavar="PATH",
            help="A file with an audio suffix, for one input; otherwise a folder. A slash at the end always means a "
            "folder, - standard output.",
        ),
    ] = None,
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
    jobs: Annotated[
        int,
        typer.Option(min=1, max=256, metavar="N", help="Processes; each loads the model, and they share the threads."),
    ] = 1,
    part: declared.Part = None,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Skip inputs whose results exist.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    report: declared.Report = None,
    trust_code: TrustCode = False,
    json: declared.Json = False,
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
    inputs: Sequence[str], out: str | None, options: Options, part: tuple[int, int] | None, report: Path | None
) -> int:
    """Plan and do the work; returns the exit code."""
    from exdiff.cli.enhancing.plan import plan_tasks
    from exdiff.cli.enhancing.report import FAILED, SALVAGED, Ledger, say_left_out, say_passed_over, say_unfit

    plan = plan_tasks(inputs, out, options)
    say_passed_over(plan.passed_over)
    say_left_out(plan.earlier)
    if plan.doubt:
        say(f"warning: {plan.doubt}")
    say_unfit(options)
    if part is not None:
        plan = plan.part(*part)
        if not plan.tasks:
            say(f"part {part[0]}/{part[1]} has no files")
    check_new_files([report], overwrite=True)
    with closing(Ledger(report, to_stdout=options.json, verbose=on_terminal())) as ledger:
        ledger.common = {"model": options.model, "seed": options.seed, "strength": options.strength}
        work = _choose(plan, options, ledger)
        while work:
            _do(work, options, ledger)
            work = _unwritten(ledger.take_again(work), ledger)
    if ledger.counts[FAILED]:
        return NOTHING_DONE if ledger.counts[FAILED] == len(plan.tasks) else SOME_FAILED
    return SOME_FAILED if ledger.counts[SALVAGED] else 0


def _do(work: list[tuple[EnhanceTask, Marks]], options: Options, ledger: Ledger) -> None:
    """In several processes or in this one: one file after the other or, where that fills a GPU, several at once."""
    if len(work) > 1 and options.jobs > 1:
        from exdiff.cli.enhancing.jobs import run_in_processes

        run_in_processes(work, options, ledger)
        return
    from exdiff.cli.enhancing.readers import run_in_threads, suits_threads
    from exdiff.cli.enhancing.run import Runner, run_serially, thread_count

    runner = Runner(options, thread_count(options.threads))
    ledger.common = runner.common
    (run_in_threads if runner.together and suits_threads(work) else run_serially)(work, runner, options, ledger)


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


def _unwritten(work: list[tuple[EnhanceTask, Marks]], ledger: Ledger) -> list[tuple[EnhanceTask, Marks]]:
    """Of files that another run was writing, those that it has not; the others are entered in the ledger."""
    from exdiff.cli.enhancing.report import SKIPPED, Outcome

    left = []
    for task, marks in work:
        if all(path.exists() for path in task.outputs):
            ledger.add(Outcome.of(task, SKIPPED, error="another run has written it meanwhile"))
        else:
            left.append((task, marks))
    return left
