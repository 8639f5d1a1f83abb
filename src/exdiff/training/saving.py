"""States are written beside the training, by a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from exdiff.core.recipe import Recipe
from exdiff.training.state import State, snapshot, write


class Saver:
    """Writes the states of a run to its folder, one at a time; the training waits only while one is copied.

    Args:
        recipe: of the run.
        out: its folder.
    """

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self._recipe, self._out = recipe, out
        self._thread = ThreadPoolExecutor(1, "exdiff-save")
        self._writing: Future[None] | None = None

    def save(self, state: State, then: Callable[[], None]) -> None:
        """Begin to write a state, once the one before is on the disk; `then` is called when it is there itself."""
        self.wait()
        content = snapshot(state)

        def work() -> None:
            write(content, self._recipe, self._out)
            then()

        self._writing = self._thread.submit(work)

    def check(self) -> None:
        """Raise the error, if writing the last state has failed already."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when the last state is on the disk; CheckpointError if it cannot be written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the thread, once it has written what it is at."""
        self._thread.shutdown()
