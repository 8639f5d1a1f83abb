"""Scoring, in this process or in worker processes with one thread each."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from exdiff.core.errors import AudioError, ExDiffError
from exdiff.evaluation.metrics import METRICS, MULTICHANNEL
from exdiff.evaluation.statistics import ScoreRow


@dataclass(frozen=True)
class ScoringTask:
    """One signal to score, [T] or [C, T]; or, without signals, a row that is complete already."""

    row: ScoreRow
    estimate: np.ndarray | None = None
    clean: np.ndarray | None = None
    mixture: np.ndarray | None = None
    sample_rate: int = 0


@contextmanager
def scorer(metrics: Sequence[str], workers: int) -> Iterator[Callable[[Sequence[ScoringTask]], list[ScoreRow]]]:
    """A function that scores a block of tasks, in order: in this process, or in `workers` new ones."""
    score = functools.partial(_score, tuple(metrics))
    if workers == 1:
        yield lambda tasks: [score(task) for task in tasks]
        return
    # Spawned, not forked: torch's and ONNX Runtime's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            with _one_thread_each():
                wait([pool.submit(int) for _ in range(workers)])  # each submission starts a process while none is idle
            yield lambda tasks: list(pool.map(score, tasks))
        except BrokenProcessPool as error:
            raise ExDiffError(
                "a worker process died; a script must call this under `if __name__ == '__main__':`, "
                "and workers=1 does without processes"
            ) from error


def _score(metrics: Sequence[str], task: ScoringTask) -> ScoreRow:
    """Runs in a worker process; everything it needs is in the task."""
    if task.estimate is None or task.clean is None or task.mixture is None:
        return task.row
    scores: dict[str, float] = {}
    every = task.estimate, task.clean, task.mixture
    mono = _mono(task.estimate), _mono(task.clean), _mono(task.mixture)
    try:
        for name in metrics:
            signals = every if name in MULTICHANNEL else mono
            scores.update(METRICS[name](*signals, task.sample_rate))
    except AudioError as error:
        return {**task.row, "error": str(error)}
    return {**task.row, **{key: None if math.isnan(value) else value for key, value in scores.items()}}


def _mono(signal: np.ndarray) -> np.ndarray:
    return signal if signal.ndim == 1 else signal.mean(axis=0)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Numerical libraries read these variables at start; without them every worker would use all cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
