"""Attempts: what may succeed another time is tried again after the others; what never does is in the failures table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from exdiff.cli.batching.plan import Work
from exdiff.cli.batching.storage import Storage
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.report import FAILED, SKIPPED, Ledger, Outcome
from exdiff.cli.enhancing.run import MakeRunner


@dataclass(frozen=True)
class Attempt:
    """What one attempt at some files takes.

    Attributes:
        work: the files.
        options: of the run.
        ledger: receives the outcomes.
        make: makes the runner of a worker.
        alone: an actor of Ray does one file at a time even if it could do several, to find the one that ends it;
            `run_in_processes` sees to that by itself.
    """

    work: Work
    options: Options
    ledger: Ledger
    make: MakeRunner
    alone: bool = False


class BatchLedger(Ledger):
    """A ledger that keeps back failures which another attempt may mend.

    Args:
        source: gives inputs their full names.
        target: gives results their full names.
        attempts: of each file, at most.
        options: of `Ledger`.

    Attributes:
        failures: records of files that are given up.
    """

    def __init__(self, source: Storage, target: Storage, attempts: int, **options: Any) -> None:
        super().__init__(**options)
        self._source, self._target, self._attempts = source, target, attempts
        self._failed: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []

    def add(self, outcome: Outcome) -> None:
        """As for `Ledger`, of an outcome whose names are relative."""
        if (
            outcome.status == SKIPPED
            and self._failed[outcome.source]
            and not all(map(self._target.has, outcome.outputs))
        ):
            # A worker elsewhere has claimed it. If that was lost with its whole machine, nobody can tell for a while.
            why = f"{outcome.error}, or has done so on a machine that is lost; run again in 15 minutes"
            outcome = replace(outcome, status=FAILED, error=why, again=True)
        self._failed[outcome.source] += outcome.status == FAILED
        super().add(outcome)

    def has_another(self, outcome: Outcome) -> bool:
        """As for `Ledger`; and of what has failed, unless it has done so too often."""
        if outcome.status == FAILED:
            return self._failed[outcome.source] < self._attempts
        return super().has_another(outcome)

    def _enter(self, outcome: Outcome) -> None:
        tried = self._failed[outcome.source]
        outcome = replace(
            outcome,
            source=self._source.address(outcome.source),
            outputs=[self._target.address(name) for name in outcome.outputs],
        )
        if outcome.status == FAILED:
            self.failures.append(outcome.to_json(self.common) | {"attempts": tried})
        super()._enter(outcome)
