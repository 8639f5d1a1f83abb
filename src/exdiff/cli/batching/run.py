"""One run of `exdiff batch`: the plan, attempts by an engine, and the failures table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from exdiff.cli.batching.attempts import Attempt, BatchLedger
from exdiff.cli.batching.engines import Engine
from exdiff.cli.batching.plan import BatchPlan, Work, missing, plan_batch
from exdiff.cli.batching.storage import Folder, Storage, open_storage
from exdiff.cli.batching.worker import StoredRunner
from exdiff.cli.common import NOTHING_DONE, SOME_FAILED, check_folder, check_new_files, say
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.report import FAILED, SALVAGED, SKIPPED, Outcome, say_passed_over, say_unfit
from exdiff.core.progress import on_terminal


def run_batch(
    places: tuple[str, str],
    options: Options,
    engine: Engine,
    *,
    part: tuple[int, int] | None = None,
    report: Path | None = None,
    retries: int = 2,
) -> int:
    """Enhance what is missing in a target; returns the exit code.

    Args:
        places: source and target, folders or URLs.
        options: of the run.
        engine: does the work.
        part: I and N, to do part I of N.
        report: file to which a line of JSON is appended for each file.
        retries: further attempts at a file whose failure need not be its own fault.

    Raises:
        ExDiffError: nothing can be done.
    """
    source, target = map(open_storage, places)
    engine.check(source, target)
    check_new_files([report], overwrite=True)
    plan = plan_batch(source, target, options, part)
    say_passed_over(plan.passed_over)
    say_unfit(options)
    if part is not None and not plan.tasks:
        say(f"part {part[0]}/{part[1]} has no files")
    table = "failures.jsonl" if part is None else f"failures-{part[0]}-of-{part[1]}.jsonl"
    with tempfile.TemporaryDirectory(prefix="exdiff-batch-") as folder:
        scratch = Path(folder)
        if isinstance(target, Folder):
            check_folder(target.root)
        else:
            _try_to_store(target, f".{table}.probe", scratch)
        ledger = BatchLedger(source, target, retries + 1, report=report, to_stdout=options.json, verbose=on_terminal())
        ledger.common = {"model": options.model, "seed": options.seed, "strength": options.strength}
        make = partial(StoredRunner, source=source, target=target, scratch=scratch)
        try:
            with closing(ledger):
                work = _choose(plan, target, ledger)
                if work:
                    with engine.begun(options, source, target) as make_attempt:
                        while work:
                            make_attempt(Attempt(work, options, ledger, make, alone=ledger.attempt > 1))
                            work = _missing([task for task, _ in ledger.take_again(work)], target, ledger)
        except BaseException:  # it is not done: half a table does not replace the whole one of an earlier run
            if ledger.failures and not target.has(table):
                _store(target, table, ledger.failures, scratch)
            raise
        if ledger.failures:
            _store(target, table, ledger.failures, scratch)
        else:
            target.remove(table)
    return _exit_code(ledger, len(plan.tasks) + len(plan.unsafe), target.address(table))


def _choose(plan: BatchPlan, target: Storage, ledger: BatchLedger) -> Work:
    """What there is to do; the rest is entered in the ledger."""
    for name, reason in plan.unsafe.items():
        ledger.add(Outcome(name.encode("unicode_escape").decode(), [], FAILED, error=reason))
    for task in plan.tasks:
        if reason := plan.refused.get(task.source):
            ledger.add(Outcome.of(task, FAILED, error=reason, collision=True))
    return _missing([task for task in plan.tasks if task.source not in plan.refused], target, ledger)


def _missing(tasks: Sequence[EnhanceTask], target: Storage, ledger: BatchLedger) -> Work:
    """What is missing in the target; what exists is entered in the ledger."""
    if not tasks:
        return []
    work, finished = missing(tasks, target)
    for task in finished:
        ledger.add(Outcome.of(task, SKIPPED, error="its results exist"))
    return work


def _try_to_store(target: Storage, name: str, scratch: Path) -> None:
    """Raise StorageError before anything is computed that cannot be stored."""
    _store(target, name, [], scratch)
    target.remove(name)


def _store(target: Storage, name: str, records: Sequence[Mapping[str, Any]], scratch: Path) -> None:
    """Write lines of JSON."""
    path = target.writing(name, scratch)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    target.put(path, name)


def _exit_code(ledger: BatchLedger, count: int, table: str) -> int:
    failed = ledger.counts[FAILED]
    if failed:
        say(f"{failed} of {count} files failed, as {table} lists")
        return NOTHING_DONE if failed == count else SOME_FAILED
    return SOME_FAILED if ledger.counts[SALVAGED] else 0
