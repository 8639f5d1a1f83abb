"""Scoring, here or in worker processes: what is sent to one, and how many threads it may use."""

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
from typing import Any

import numpy as np

from exdiff.errors import AudioError, ExDiffError
from exdiff.metrics import METRICS, MULTICHANNEL

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One signal to score, [T] or [C, T]; or what went wrong on the way to it."""

    row: Row
    estimate: np.ndarray | None = None
    clean: np.ndarray | None = None
    mixture: np.ndarray | None = None
    sample_rate: int = 0


@contextmanager
def scorer(metrics: Sequence[str], workers: int) -> Iterator[Callable[[Sequence[Job]], list[Row]]]:
    """A function that scores a block of jobs, in order: here, or in `workers` fresh processes."""
    score = functools.partial(_score, tuple(metrics))
    if workers == 1:
        yield lambda jobs: [score(job) for job in jobs]
        return
    # Spawned, not forked: torch's and ONNX Runtime's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            with _one_thread_each():
                wait([pool.submit(int) for _ in range(workers)])  # a submission starts a process while none is idle
            yield lambda jobs: list(pool.map(score, jobs))
        except BrokenProcessPool as error:
            raise ExDiffError(
                "a worker process died; a script must call this under `if __name__ == '__main__':`, "
                "and workers=1 does without processes"
            ) from error


def _score(metrics: Sequence[str], job: Job) -> Row:
    """Runs in a worker; everything it needs comes with the job."""
    if job.estimate is None or job.clean is None or job.mixture is None:
        return job.row
    scores: dict[str, float] = {}
    every = job.estimate, job.clean, job.mixture
    mono = _mono(job.estimate), _mono(job.clean), _mono(job.mixture)
    try:
        for name in metrics:
            signals = every if name in MULTICHANNEL else mono
            scores.update(METRICS[name](*signals, job.sample_rate))
    except AudioError as error:
        return {**job.row, "error": str(error)}
    return {**job.row, **{key: None if math.isnan(value) else value for key, value in scores.items()}}


def _mono(signal: np.ndarray) -> np.ndarray:
    return signal if signal.ndim == 1 else signal.mean(axis=0)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Numerical libraries read these when a process starts; without them every worker would use every core."""
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
