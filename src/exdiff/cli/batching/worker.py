"""The runner of `exdiff enhance` with files that are stored elsewhere: fetched before, put away afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exdiff.cli.batching.plan import StoredTask
from exdiff.cli.batching.storage import Storage, StorageError
from exdiff.cli.common import one_line
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.report import FAILED, SKIPPED, Outcome
from exdiff.cli.enhancing.run import Marks, Runner


class StoredRunner(Runner):
    """Enhances single files of a source into a target.

    Args:
        options: of the run.
        threads: CPU threads, None for the default.
        source: holds the inputs.
        target: takes the results.
        scratch: folder for copies, which the run removes; where it does not exist, on other machines, one of the
            system's is used. Copies of a file are removed with its outcome.
    """

    def __init__(self, options: Options, threads: int | None, source: Storage, target: Storage, scratch: Path) -> None:
        source.check()
        target.check()
        super().__init__(options, threads)
        self._source, self._target, self._scratch = source, target, scratch

    def run(self, task: EnhanceTask, marks: Marks, advance: Callable[[float], None]) -> Outcome:
        """As for `Runner`, with names relative to source and target."""
        assert isinstance(task, StoredTask)
        place = self._scratch if self._scratch.exists() else None
        ENDING.hold()  # until the caller has noted the outcome, except while files travel
        try:
            with tempfile.TemporaryDirectory(dir=place, prefix="exdiff-") as folder:
                return self._run(task, marks, advance, Path(folder))
        except (StorageError, OSError) as error:
            return Outcome.of(task, FAILED, error=one_line(error), again=True)

    def _run(self, task: StoredTask, marks: Marks, advance: Callable[[float], None], folder: Path) -> Outcome:
        with ENDING.interruptible():
            source = self._source.reading(task.source.as_posix(), task.size, folder)
        outputs = tuple(self._target.writing(path.as_posix(), folder) for path in task.outputs)
        outcome = super().run(replace(task, source=source, outputs=outputs), marks, advance)
        if outcome.status not in (FAILED, SKIPPED):
            with ENDING.interruptible():
                for path, name in zip(outputs, task.outputs, strict=True):
                    self._target.put(path, name.as_posix())
        for key in ("input", "output"):
            outcome.record.pop(key, None)
        return replace(outcome, source=str(task.source), outputs=[str(path) for path in task.outputs])
