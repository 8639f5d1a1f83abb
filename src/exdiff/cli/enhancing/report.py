"""What became of each file: lines on standard error, --json, --report, and the table at the end."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from exdiff.cli.common import debugging, full_traceback, one_line, say
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.core.errors import ConfigError, ExDiffError

DONE, WARNED, SALVAGED, FAILED, SKIPPED = "done", "warned", "salvaged", "failed", "skipped"
_STATUSES = (DONE, WARNED, SALVAGED, FAILED, SKIPPED)
_MOST_ROWS = 30
T = TypeVar("T")


@dataclass
class Outcome:
    """What became of one file; it travels from the processes of --jobs.

    Attributes:
        source: the input.
        outputs: its results.
        status: done, warned, salvaged, failed or skipped.
        record: the fields of --json.
        warnings: one line each.
        error: one line, if it failed; why, if it was skipped.
        trace: the traceback, with EXDIFF_DEBUG.
        collision: `error` names all files that it is about, and is printed once.
        again: another attempt may succeed: the fault need not be the file's, or another run that writes it may end.
    """

    source: str
    outputs: list[str]
    status: str
    record: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    trace: str | None = None
    collision: bool = False
    again: bool = False

    @classmethod
    def of(cls, task: EnhanceTask, status: str, **fields: Any) -> Outcome:
        """The outcome of a task."""
        return cls(str(task.source), [str(path) for path in task.outputs], status, **fields)

    @classmethod
    def of_error(cls, task: EnhanceTask, error: Exception) -> Outcome:
        """A failure."""
        trace = full_traceback(error) if debugging() else None
        return cls.of(task, FAILED, error=_plain(task, error), trace=trace, again=not isinstance(error, ExDiffError))

    def to_json(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """The record for --json and --report."""
        result: dict[str, Any] = {"input": self.source, "output": self.outputs} | self.record | dict(common)
        result["status"] = self.status
        result["warnings"] = self.warnings
        if self.error is not None:
            result["reason" if self.status == SKIPPED else "error"] = self.error
        return result


def _plain(task: EnhanceTask, error: Exception) -> str:
    """One line without the name of the file, which is printed before it."""
    if isinstance(error, ExDiffError | OSError):
        text = one_line(error)
    else:  # a bug, or a library's
        text = f"internal error: {type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
        text += "" if debugging() else "; EXDIFF_DEBUG=1 shows where"
    return text.removeprefix(f"{task.source}: ")


def say_passed_over(suffixes: Counter[str]) -> None:
    """Warn of files that are not read, by suffix."""
    if suffixes:
        kinds = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(suffixes.items()))
        say(f"warning: {suffixes.total()} files are not read because of their suffix: {kinds}")


def say_left_out(results: Sequence[Path]) -> None:
    """Say which files were taken for results of earlier runs."""
    if results:
        what = f"{results[0]} is" if len(results) == 1 else f"{results[0]} and {len(results) - 1} more are"
        say(f"{what} left out: results of earlier runs, by their names; with -o, files given by name are done too")


def say_unfit(options: Options) -> None:
    """Warn if the default model is to separate songs."""
    if options.stems and options.model == Options.model:
        say(f"warning: the model {options.model} was not made for songs; use --model vocals or vocals-compact")


class Ledger:
    """Receives outcomes, prints and counts them.

    Args:
        report: the file of --report, if any; lines are appended to it.
        to_stdout: print a line of JSON for each file.
        verbose: also say what was written where, as on a terminal.

    Attributes:
        attempt: the one that goes on, from 1.

    Raises:
        ConfigError: the report cannot be written.
    """

    def __init__(self, report: Path | None, *, to_stdout: bool, verbose: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.common: dict[str, Any] = {}
        self._rows: list[tuple[str, str, str]] = []
        self._report, self._to_stdout, self._verbose = report, to_stdout, verbose
        self._said: set[str] = set()
        self._again: set[str] = set()
        self.attempt = 1
        self._start = time.monotonic()
        self._seconds = 0.0
        self._known = {} if report is None else _read_report(report)
        if report is not None:
            _append(report, b"" if _ends_with_line(report) else b"\n")

    def finished_before(self, task: EnhanceTask) -> bool:
        """Whether the report says so, and all results exist."""
        known = self._known.get((str(task.source), *map(str, task.outputs)))
        return known in (DONE, WARNED, SALVAGED) and all(path.exists() for path in task.outputs)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome and print what there is to say; or keep it back, and the file for another attempt."""
        if outcome.again and self.has_another(outcome):
            self._again.add(outcome.source)
        else:
            self._enter(outcome)

    def has_another(self, outcome: Outcome) -> bool:
        """Whether there is another attempt: one, at what another run was writing, which may have ended before."""
        return outcome.status == SKIPPED and self.attempt == 1

    def take_again(self, work: Sequence[tuple[EnhanceTask, T]]) -> list[tuple[EnhanceTask, T]]:
        """Begin the next attempt: the part of `work` that it consists of."""
        again, self._again = self._again, set()
        self.attempt += 1
        return [item for item in work if str(item[0].source) in again]

    def _enter(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self._seconds += outcome.record.get("duration", 0.0)
        why = outcome.error or (outcome.warnings[0] if outcome.warnings else "")
        if outcome.status != DONE:
            self._rows.append((outcome.status, outcome.source, why))
        self._print(outcome)
        line = json.dumps(outcome.to_json(self.common))
        if self._to_stdout and outcome.status != SKIPPED:
            print(line, flush=True)
        if self._report is not None and not (
            outcome.status == SKIPPED and (outcome.source, *outcome.outputs) in self._known
        ):
            _append(self._report, line.encode() + b"\n")

    def _print(self, outcome: Outcome) -> None:
        for warning in outcome.warnings:
            say(f"warning: {outcome.source}: {warning.removeprefix(f'{outcome.source}: ')}")
        if outcome.status == FAILED:
            if outcome.trace:
                say(outcome.trace.rstrip(), prefix="")
            if not outcome.collision:
                say(f"error: {outcome.source}: {outcome.error}")
            elif outcome.error not in self._said:
                say(f"error: {outcome.error}")
                self._said.add(str(outcome.error))
        elif self._verbose and not self._to_stdout and outcome.status != SKIPPED:
            say(f"{outcome.source} -> {', '.join(outcome.outputs)} ({outcome.record['rtf']:.3g} x real time)")

    def close(self) -> None:
        """Print the table, on a terminal and for more than one file."""
        if not self._verbose or self.counts.total() < 2:
            return
        took = _duration(time.monotonic() - self._start)
        say(f"{self.counts.total()} files, {_duration(self._seconds)} of audio in {took}")
        for status in _STATUSES:
            if self.counts[status]:
                say(f"{self.counts[status]:>8}  {status}", prefix="")
        for status, source, why in self._rows[:_MOST_ROWS]:
            say(f"{status:>8}  {source}: {why}", prefix="")
        if len(self._rows) > _MOST_ROWS:
            say(f"{'':>8}  and {len(self._rows) - _MOST_ROWS} more; --report FILE.jsonl lists all", prefix="")


def _read_report(path: Path) -> dict[tuple[str, ...], str]:
    """The last status of each input with its outputs; a line that an interruption cut is left out."""
    known: dict[tuple[str, ...], str] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return known
    except OSError as error:
        raise ConfigError(f"--report {str(path)!r} cannot be read: {error.strerror}; name another file") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            known[record["input"], *record["output"]] = record["status"]
        except (ValueError, KeyError, TypeError):
            if number == 1 and len(lines) > 1:
                raise ConfigError(f"{path} is not a report of exdiff; name another file for --report") from None
    return known


def _ends_with_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _append(path: Path, data: bytes) -> None:
    """In one write at the end of the file, so that several runs may share it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(number, data)
        finally:
            os.close(number)
    except OSError as error:
        raise ConfigError(f"--report {str(path)!r} cannot be written: {error.strerror}; name another file") from None


def _duration(seconds: float) -> str:
    """A time to read.

    Example:
        >>> _duration(7), _duration(200), _duration(7500)
        ('7.0 s', '3 min 20 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
