"""The run: every system on every pair, scored by every metric.

Files are processed in blocks: the main process enhances a block, then the workers score it. So nothing else runs while
the real-time factor is measured, memory stays bounded, and no model is copied into a worker. `observe` gives access to
the estimates (trust, comparison).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.core.config import nearest
from exdiff.core.errors import AudioError, ConfigError, DataError, DivergenceError
from exdiff.core.progress import track
from exdiff.evaluation.journal import Journal, fingerprint
from exdiff.evaluation.metrics import METRICS, PACKAGES
from exdiff.evaluation.metrics.signals import require
from exdiff.evaluation.pairs import Loadable, Pair, find_pairs
from exdiff.evaluation.statistics import ScoreRow, paired, summarise
from exdiff.evaluation.systems import MIXTURE, EstimateFolder, System, load_systems, locate_weights
from exdiff.evaluation.trust import assess, check_samples, predictive_value
from exdiff.evaluation.workers import ScoringTask, scorer

DEFAULT_METRICS = ("si_sdr", "pesq", "estoi", "dnsmos")

# Called in this process with a pair, the system's name and its estimate; the result is added to the row.
Observe = Callable[[Pair, str, np.ndarray], Mapping[str, Any]]


def evaluate(
    data: Path,
    models: Sequence[str] = (),
    estimates: Sequence[Path] = (),
    metrics: Sequence[str] = DEFAULT_METRICS,
    limit: int | None = None,
    workers: int = 1,
    *,
    samples: int = 0,
    journal: Path | None = None,
) -> dict[str, Any]:
    """Evaluate models and folders of estimates, and always the mixture itself, on the pairs in `data`.

    Args:
        data: see `find_pairs`.
        models: `NAME[@key=value,...]`, see `parse_model`.
        estimates: folders of audio files with the data's names.
        metrics: names from `METRICS`.
        limit: number of pairs, drawn with a fixed seed.
        workers: processes that compute scores; for more than one a script needs `if __name__ == "__main__":`.
        samples: outputs to draw from each model for its uncertainty, at least 2, or 0 for none; see `trust.py`.
        journal: file for the rows as they are computed; an interrupted run with the same settings continues from it.
            The caller removes it once the result is saved.

    Returns:
        Plain values ready for JSON, see `evaluate_pairs`; with `samples` also `trust`.

    Raises:
        ConfigError: an unknown metric or option, a system given twice, a number out of range, or the journal of
            another run.
        DataError: no data, a file without its partner, or a missing estimate.
        ExDiffError: the package behind a metric is not installed, or a worker died.
    """
    check_metrics(metrics)
    check_samples(samples)
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be 1 or more, got {limit}")
    pairs = find_pairs(data, limit)
    book = None
    if journal is not None:
        weights = [locate_weights(model) for model in models]
        settings = {
            "data": fingerprint(pairs),
            "models": [*models, fingerprint(weights)],
            "estimates": [*map(str, estimates), fingerprint(estimates)],
            "metrics": list(metrics),
            "samples": samples,
        }
        book = Journal(journal, settings)
    systems = load_systems(models, estimates)

    def observe(pair: Pair, name: str, estimate: np.ndarray) -> Mapping[str, Any]:
        table = assess(systems[name], pair, estimate, samples) if name in systems else None
        return {} if table is None else {"trust": table}

    look = observe if samples else None
    result = evaluate_pairs(
        pairs, systems, metrics, workers=workers, data=str(data), progress=True, observe=look, journal=book
    )
    if samples:
        sampled = dict.fromkeys(row["system"] for row in result["rows"] if "trust" in row)
        result["trust"] = {name: predictive_value(result["rows"], name) for name in sampled}
    return result


def evaluate_pairs(
    pairs: Sequence[Loadable],
    systems: Mapping[str, System],
    metrics: Sequence[str] = ("si_sdr",),
    *,
    workers: int = 1,
    data: str = "memory",
    progress: bool = False,
    observe: Observe | None = None,
    journal: Journal | None = None,
) -> dict[str, Any]:
    """Evaluate callables and folders of estimates on pairs in memory or on disk, and always the mixture.

    A system gets the mixture, [T] or [C, T], and must return the same shape. Scores are computed from the mean over
    channels, except for the metrics in `MULTICHANNEL`. A pair or an estimate that does not fit gives rows with `error`,
    and the run continues.

    Args:
        pairs: `Pair` holds its signals, `PairFiles` reads them when needed.
        systems: name -> `callable(audio, sample_rate) -> audio`.
        metrics: names from `METRICS`; the default takes milliseconds.
        workers: processes that compute scores; 1 for this one.
        data: name of the pairs in the report.
        progress: show a bar on a terminal.
        observe: called with every pair, the system's name and its estimate; the result is added to the row.
        journal: stores the rows as they are computed; rows that it has are not computed again.

    Returns:
        `data`, `files`, `systems` (name -> score -> mean, ci95, median, nan; plus rtf, errors), `paired` differences,
        and `rows`, one per file and system; an undefined score is None.

    Raises:
        ConfigError: an unknown metric, a system called `mixture`, or fewer than one worker.
        DataError: no pairs, or a missing estimate.
        ExDiffError: the package behind a metric is not installed, or a worker died.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(2, 16000))
        >>> pair = Pair("one", noise[0], noise[0] + noise[1], 16000)
        >>> result = evaluate_pairs([pair], {"louder": lambda audio, sample_rate: 2 * audio})
        >>> round(result["paired"]["louder - mixture"]["si_sdr"]["mean"], 6) + 0.0
        0.0
    """
    check_metrics(metrics)
    if MIXTURE in systems:
        raise ConfigError(f"no system may be called {MIXTURE!r}: the mixture itself is always evaluated")
    if workers < 1:
        raise ConfigError(f"workers must be 1 or more, got {workers}")
    if not pairs:
        raise DataError("there are no pairs to evaluate on")
    everything: dict[str, System | None] = {**systems, MIXTURE: None}
    for system in systems.values():
        if isinstance(system, EstimateFolder):
            system.require(pair.name for pair in pairs)
    items = track(pairs, "evaluating") if progress else pairs
    rows: list[ScoreRow] = []
    with scorer(metrics, workers) as score:
        block: list[ScoringTask] = []
        for count, pair in enumerate(items, 1):
            block += _enhance_all(pair, everything, observe, journal)
            if count % (2 * workers) == 0 or count == len(pairs):
                rows += _scored(block, score, journal)
                block = []
    names = list(everything)
    return {
        "data": data,
        "files": len(pairs),
        "systems": summarise(rows, names),
        "paired": paired(rows, names, MIXTURE),
        "rows": rows,
    }


def _scored(
    block: Sequence[ScoringTask], score: Callable[[Sequence[ScoringTask]], list[ScoreRow]], journal: Journal | None
) -> list[ScoreRow]:
    """Rows of the block in order."""
    rows = score(block)
    if journal is not None:
        journal.add(row for row in rows if (row["file"], row["system"]) not in journal.known)
    return rows


def check_metrics(metrics: Sequence[str]) -> None:
    """Raise before the work begins.

    Raises:
        ConfigError: an unknown metric, or none.
        ExDiffError: the package behind one is not installed.

    Example:
        >>> check_metrics(["si_sdr"])
    """
    if not metrics:
        raise ConfigError(f"no metric is given; allowed: {', '.join(METRICS)}")
    for name in metrics:
        if name not in METRICS:
            raise ConfigError(f"unknown metric {name!r}{nearest(name, METRICS)}")
        require(name, PACKAGES.get(name, ()))


def _enhance_all(
    item: Loadable, systems: Mapping[str, System | None], observe: Observe | None, journal: Journal | None
) -> list[ScoringTask]:
    known = {} if journal is None else journal.known
    tasks = {name: ScoringTask(known[item.name, name]) for name in systems if (item.name, name) in known}
    missing = {name: system for name, system in systems.items() if name not in tasks}
    if missing:
        try:
            pair = item.load()
        except (AudioError, DataError) as error:
            return [ScoringTask(_row(item.name, name, error=str(error))) for name in systems]
        tasks |= {name: _enhance(pair, name, system, observe) for name, system in missing.items()}
    return [tasks[name] for name in systems]


def _enhance(pair: Pair, name: str, system: System | None, observe: Observe | None) -> ScoringTask:
    seconds = pair.mixture.shape[-1] / pair.sample_rate
    begin = time.perf_counter()
    try:
        estimate, rate = _run(pair, system)
    except (AudioError, DataError, DivergenceError) as error:
        return ScoringTask(_row(pair.name, name, seconds=seconds, error=str(error)))
    elapsed = time.perf_counter() - begin
    row = _row(pair.name, name, seconds=seconds)
    if callable(system):
        row["rtf"] = elapsed / seconds
    got, wanted = (estimate.shape[-1], rate), (pair.mixture.shape[-1], pair.sample_rate)
    if got != wanted:
        row["error"] = f"the estimate has {got[0]} samples at {got[1]} Hz, expected {wanted[0]} at {wanted[1]} Hz"
        return ScoringTask(row)
    if estimate.shape != pair.clean.shape:  # a mono estimate of a stereo song stands for both channels, and vice versa
        mono = estimate if estimate.ndim == 1 else estimate.mean(axis=0)
        estimate = np.broadcast_to(mono, pair.clean.shape)
    try:
        seen = observe(pair, name, estimate) if observe is not None and np.isfinite(estimate).all() else {}
    except DivergenceError as error:  # of further samples
        return ScoringTask({**row, "error": str(error)})
    return ScoringTask({**row, **seen}, estimate, pair.clean, pair.mixture, pair.sample_rate)


def _run(pair: Pair, system: System | None) -> tuple[np.ndarray, int]:
    if system is None:
        return pair.mixture, pair.sample_rate
    if isinstance(system, EstimateFolder):
        return system.read(pair.name)
    return np.asarray(system(pair.mixture, pair.sample_rate)), pair.sample_rate


def _row(file: str, system: str, **values: Any) -> ScoreRow:
    return {"file": file, "system": system, "seconds": None, "rtf": None, **values}
