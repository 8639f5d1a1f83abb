"""The files of a run, one after the other; `readers.py` has several under way at once, `jobs.py` several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from exdiff.cli.common import say
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.claims import ClaimedError
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.report import DONE, SALVAGED, SKIPPED, WARNED, Ledger, Outcome
from exdiff.core.errors import AudioError
from exdiff.core.progress import AudioBar
from exdiff.core.threads import core_count

# Of each output: what it was when the run began, to notice that another run has written it since.
Marks = list[tuple[int, int, int] | None]
MakeRunner = Callable[[Options, int | None], "Runner"]


class Runner:
    """Enhances single files with one loaded model.

    Args:
        options: of the run.
        threads: CPU threads, None for the default.

    Attributes:
        common: fields that the records of all files share.
        together: several windows are computed at once, as on a GPU, of several files if they come at once.

    Raises:
        ExDiffError: the model cannot be loaded, or an option does not fit it.
    """

    def __init__(self, options: Options, threads: int | None) -> None:
        import torch

        from exdiff.core.machine import keep_memory
        from exdiff.inference.loading import load
        from exdiff.model.samplers import SAMPLERS

        keep_memory()
        if threads is not None:
            torch.set_num_threads(threads)
        self._options = options
        self._enhancer = enhancer = load(options.model, **options.loading)
        enhancer.stream((), enhancer.model.sample_rate, seed=options.seed, strength=options.strength)  # checks them
        self.together, self.cancel = enhancer.batch_windows > 1, enhancer.engine.cancel
        sampler = next((name for name, function in SAMPLERS.items() if function is enhancer.sampler), None)
        self.common: dict[str, Any] = {
            "model": options.model,
            "sampler": sampler if enhancer.steps else None,
            "steps": enhancer.steps,
            "seed": options.seed,
            "strength": options.strength,
        }

    def run(self, task: EnhanceTask, marks: Marks, advance: Callable[[float], None]) -> Outcome:
        """Enhance a file; an error of the file, or a bug that it shows, is an outcome too.

        Signals are held, so that whatever is created is also remembered and removed; `ENDING.release` is for the
        caller, once the outcome is noted.
        """
        from exdiff.cli.enhancing.file import enhance_file

        ENDING.check()
        ENDING.hold()
        try:
            record = enhance_file(
                task, self._enhancer, self._options, advance, lambda: _check_marks(task, marks, self._options)
            )
        except _DoneMeanwhile as error:
            return Outcome.of(task, SKIPPED, error=str(error))
        except ClaimedError as error:
            if self._options.skip_existing:
                return Outcome.of(task, SKIPPED, error="another run writes it now", again=True)
            return Outcome.of_error(task, error)
        except BrokenPipeError:
            raise  # whoever reads the results has enough
        except Exception as error:
            ENDING.check()  # the error may follow from the interrupt
            return Outcome.of_error(task, error)
        warnings, missing = record.pop("warnings"), record["missing"]
        if not missing:
            del record["missing"]
        status = SALVAGED if missing else WARNED if warnings else DONE
        return Outcome.of(task, status, record=record, warnings=warnings)


class _DoneMeanwhile(Exception):
    """Another run has written the results since this one began."""


def marks_of(task: EnhanceTask) -> Marks:
    """What the outputs of a task are now.

    Raises:
        OSError: such a file cannot exist, because its name is too long, say.
    """
    return [None if task.to_pipe else _mark(path) for path in task.outputs]


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _check_marks(task: EnhanceTask, marks: Marks, options: Options) -> None:
    if marks_of(task) == marks:
        return
    if options.skip_existing or options.overwrite:
        raise _DoneMeanwhile("another run has written it meanwhile")
    who = "another run, or a process that died,"
    raise AudioError(f"{who} has written {task.outputs[0]} meanwhile; use --overwrite or --skip-existing")


def thread_count(wanted: int | None) -> int | None:
    """`wanted`, but no more than there are cores, which is said."""
    most = core_count()
    if wanted is not None and wanted > most:  # more threads than cores only wait, and thousands crash
        say(f"warning: --threads {wanted}: this machine has {most} cores; using {most} threads")
        return most
    return wanted


def run_serially(
    work: Sequence[tuple[EnhanceTask, Marks]],
    runner: Runner,
    options: Options,
    ledger: Ledger,
    lengths: Lengths | None = None,
) -> None:
    """Enhance files one after the other."""
    lengths = lengths or Lengths([task.source for task, _ in work], options.raw)
    with closing(AudioBar(lengths.total)) as bar:
        for task, marks in work:
            bar.describe(task.source.name)
            try:
                outcome = runner.run(task, marks, bar.advance)
                lengths.settle(task.source, outcome.record.get("duration", 0.0))
                bar.settle(lengths.settled, lengths.total)
                ledger.add(outcome)
            finally:
                ENDING.release()
