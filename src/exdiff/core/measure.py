"""Which of two ways to compute something is faster on this machine: measured once and kept in a file, never assumed.

The choice decides how results round, so it must not depend on when it was measured. The two ways are timed in turn
until neither gets shorter, and the shortest time of each counts: a busy moment slows both. A candidate that is not
clearly faster is not chosen. The answer and the measured ratio are kept in `machine.json` in the cache folder, one
table for each kind of machine; delete the file to measure again.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from exdiff.core.folders import cache_folder

CLEARLY = 0.95  # share of the reference's time below which a candidate is chosen
_ROUNDS = 7  # timings of each, in turn, before it is seen whether they still get shorter
_QUIET = 2  # sets of rounds in a row in which neither gets shorter: then both were undisturbed at least once
_SAME = 0.98  # share of the shortest time so far that does not count as shorter
_LONGEST_SECONDS = 4.0  # of one measurement, on a machine that never comes to rest

_lock = threading.Lock()
_answers: dict[tuple[Path, str, str], Answer] = {}


class Answer(NamedTuple):
    """Whether the candidate is clearly faster, and its time divided by the reference's."""

    faster: bool
    ratio: float


def clearly_faster(
    question: str, candidate: Callable[[], object], reference: Callable[[], object], *, below: float = CLEARLY
) -> bool:
    """Whether `candidate` takes less than `below` times as long as `reference` on this machine.

    Args:
        question: the name under which the answer is kept.
        candidate: the way that may be chosen.
        reference: the way that is used unless the other is clearly faster.
        below: the ratio of their times that counts as clear.
    """
    return remembered(question, lambda: time_ratio(candidate, reference), below=below)


def remembered(question: str, ratio: Callable[[], float], *, below: float = CLEARLY) -> bool:
    """Whether `ratio()` was below `below` when it was first measured on this kind of machine.

    A cache that cannot be read or written costs a measurement in each process, nothing else.
    """
    path, kind = _path(), _kind()
    key = (path, kind, question)
    with _lock:  # two threads must neither disturb each other's measurement nor get different answers
        if key not in _answers:
            answer = _stored(path, kind).get(question)
            if answer is None:
                value = ratio()
                answer = _keep(path, kind, question, Answer(value < below, round(value, 4)))
            _answers[key] = answer
        return _answers[key].faster


def measured() -> dict[str, Answer]:
    """All answers kept for this kind of machine, for bug reports."""
    return _stored(_path(), _kind())


def time_ratio(candidate: Callable[[], object], reference: Callable[[], object]) -> float:
    """The shortest time of `candidate` over that of `reference`, timed in turn until neither gets shorter."""
    works = (candidate, reference)
    best, quiet = [float("inf")] * 2, 0
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        for work in works:
            work()  # the first call builds kernels and buffers
        end = time.perf_counter() + _LONGEST_SECONDS
        while quiet < _QUIET and time.perf_counter() < end:
            before = list(best)
            for _ in range(_ROUNDS):
                best = [min(known, _seconds(work)) for known, work in zip(best, works, strict=True)]
            shorter = any(now < _SAME * known for now, known in zip(best, before, strict=True))
            quiet = 0 if shorter else quiet + 1
    return best[0] / best[1]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _path() -> Path:
    return cache_folder() / "machine.json"


def _kind() -> str:
    return f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def _read(path: Path) -> dict[str, Any]:
    """The file's tables, of all kinds of machines; none where it is missing or damaged."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tables if isinstance(tables, dict) else {}


def _stored(path: Path, kind: str) -> dict[str, Answer]:
    """What the file holds about one kind of machine; earlier versions kept no ratio, and are measured again."""
    table = _read(path).get(kind)
    entries = table.items() if isinstance(table, dict) else ()
    return {
        question: Answer(entry["faster"], float(entry["ratio"]))
        for question, entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("faster"), bool)
        and isinstance(entry.get("ratio"), int | float)
    }


def _keep(path: Path, kind: str, question: str, answer: Answer) -> Answer:
    """Store an answer and return it, or return the one that another process stored first."""
    other = _stored(path, kind).get(question)
    if other is not None:
        return other
    tables = _read(path)
    table = tables.get(kind)
    tables[kind] = {**(table if isinstance(table, dict) else {}), question: answer._asdict()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(tables, indent=2), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        pass
    return answer


@functools.cache
def _processor() -> str:
    """The CPU's model; its instruction sets where the name says nothing (virtual machines)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line and line.startswith(("model", "flags")))
    wide = [f for f in facts.get("flags\t\t", "").split() if f.startswith(("avx", "amx"))]
    name = next((v.strip() for k, v in facts.items() if k.startswith("model name")), platform.machine())
    return f"{name} ({' '.join(wide)})" if wide else name
