"""The comparison: score all files, choose a few, run the systems on these again, and put them on the page."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.audio import encode
from exdiff.core.errors import ConfigError, DataError
from exdiff.core.progress import track
from exdiff.evaluation import DEFAULT_METRICS, EstimateFolder, Pair, evaluate_pairs, find_pairs
from exdiff.evaluation.comparison import pictures
from exdiff.evaluation.comparison.choose import check_names, choose
from exdiff.evaluation.comparison.page import Case, Tile, render
from exdiff.evaluation.comparison.segments import excerpt, segment_scores
from exdiff.evaluation.comparison.summary import by_noise, case_sentence, sentences
from exdiff.evaluation.pairs import Loadable
from exdiff.evaluation.run import check_metrics
from exdiff.evaluation.statistics import ScoreRow
from exdiff.evaluation.systems import MIXTURE, System, load_systems
from exdiff.evaluation.trust import assess, check_samples, predictive_value

SHOWN = 6
LONGEST_SECONDS = 15.0  # longest part of a file on the page


def compare(
    data: Path,
    models: Sequence[str],
    estimates: Sequence[Path] = (),
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    files: Sequence[str] = (),
    limit: int | None = None,
    shown: int = SHOWN,
    samples: int = 0,
    workers: int = 1,
) -> tuple[str, dict[str, Any]]:
    """Score systems on the pairs in `data` and show where they differ.

    Args:
        data: see `find_pairs`.
        models: `NAME[@key=value,...]`; the first two systems are compared with each other.
        estimates: folders of another program's results.
        metrics: names from `METRICS`; `si_sdr` is always added.
        files: the files to score and show; by default all are scored and those that differ most are shown.
        limit: number of pairs, drawn with a fixed seed.
        shown: largest number of files on the page.
        samples: outputs to draw from each diffusion model for its uncertainty; 0 for none.
        workers: processes that compute scores.

    Returns:
        The page and the report: the result of `evaluate_pairs` with `segments` in the rows, `summary`, `by_noise` and
        `cases`.

    Raises:
        ConfigError: an unknown metric, option or file, or a number out of range.
        DataError: no data, a file without its partner, or no file that could be scored.
        ExDiffError: matplotlib, or the package behind a metric, is not installed.
    """
    pictures.require_matplotlib()
    metrics = list(dict.fromkeys(["si_sdr", *metrics]))
    check_metrics(metrics)
    check_samples(samples)
    if shown < 1:
        raise ConfigError(f"the page must show 1 file or more, got {shown}")
    pairs = find_pairs(data, limit)
    check_names(files, [pair.name for pair in pairs])
    wanted = [pair for pair in pairs if not files or pair.name in files]
    systems = load_systems(models, estimates)
    result = compare_pairs(wanted, systems, metrics, data=str(data), samples=samples, workers=workers)
    names = list(systems)
    chosen = list(files)[:shown] or choose(result["rows"], names or [MIXTURE], "si_sdr", shown)
    if not chosen:
        raise DataError("no file could be scored by every system; exdiff evaluate shows what failed")
    by_name = {pair.name: pair for pair in wanted}
    cases = [_case(by_name[name], systems, result["rows"]) for name in track(chosen, "drawing")]
    report = {**result, "cases": [case for _, case in cases]}
    return _page(report, systems, [case for case, _ in cases], named=bool(files)), report


def compare_pairs(
    pairs: Sequence[Loadable],
    systems: Mapping[str, System],
    metrics: Sequence[str],
    *,
    data: str = "memory",
    samples: int = 0,
    workers: int = 1,
) -> dict[str, Any]:
    """`evaluate_pairs`, with `segments` in every row, `trust` if there are samples, `summary` and `by_noise`."""

    def observe(pair: Pair, name: str, estimate: np.ndarray) -> dict[str, Any]:
        seen: dict[str, Any] = {"segments": segment_scores(estimate, pair.clean, pair.mixture, pair.sample_rate)}
        if samples and name in systems and (table := assess(systems[name], pair, estimate, samples)):
            seen["trust"] = table
        return seen

    result = evaluate_pairs(pairs, systems, metrics, workers=workers, data=data, progress=True, observe=observe)
    names = list(systems)
    if samples:
        sampled = dict.fromkeys(row["system"] for row in result["rows"] if "trust" in row)
        result["trust"] = {name: predictive_value(result["rows"], name) for name in sampled}
    result["summary"] = sentences(result, names)
    result["by_noise"] = by_noise(result["rows"], names[:2]) if names else []
    return result


def kind_of(system: System) -> str:
    """The kind of a system, as shown on the page.

    Example:
        >>> kind_of(lambda audio, rate: audio)
        'callable'
    """
    if isinstance(system, EstimateFolder):
        return "folder of estimates"
    enhancer = getattr(system, "func", None)
    if not isinstance(system, functools.partial) or not hasattr(enhancer, "model"):
        return "callable"
    steps = system.keywords.get("steps", getattr(enhancer, "steps", 0))
    return f"generative, {steps} step{'s' if steps > 1 else ''}" if steps else "discriminative"


def _page(report: Mapping[str, Any], systems: Mapping[str, System], cases: Sequence[Case], *, named: bool) -> str:
    from exdiff import __version__

    names = list(systems)
    scores = {(row["file"], row["system"]): row.get("si_sdr") for row in report["rows"]}
    leads: dict[str, float] = {}
    if len(names) > 1:
        pairs = {file: (scores.get((file, names[0])), scores.get((file, names[1]))) for file, _ in scores}
        leads = {file: b - a for file, (a, b) in pairs.items() if a is not None and b is not None}
    shown = [case.file for case in cases]
    how = (
        "Files given by name."
        if named
        else "Files in which the systems' SI-SDR differs most, in turn for each leading system."
    )
    return render(
        report,
        {name: kind_of(system) for name, system in systems.items()},
        cases,
        summary=report["summary"],
        noise_table=report["by_noise"],
        differences=pictures.differences(leads, shown, *names[:2]) if len(leads) > 1 else None,
        scale=pictures.colour_bar(),
        choice=how,
        version=__version__,
    )


def _case(item: Loadable, systems: Mapping[str, System], rows: Sequence[ScoreRow]) -> tuple[Case, dict[str, Any]]:
    """One file on the page, and its entry in the report."""
    pair = item.load()
    mine = {row["system"]: row for row in rows if row["file"] == pair.name}
    curves = {name: row["segments"] for name, row in mine.items() if row.get("segments")}
    seconds = pair.mixture.shape[-1] / pair.sample_rate
    start, end = excerpt({n: c for n, c in curves.items() if n in systems} or curves, seconds, LONGEST_SECONDS)
    trust = {name: row["trust"] for name, row in mine.items() if "trust" in row}
    sentence = case_sentence(rows, pair.name, list(systems))
    channels = 1 if pair.mixture.ndim == 1 else len(pair.mixture)
    about = f"{seconds:.1f} s, {pair.sample_rate} Hz, {'mono' if channels == 1 else f'{channels} channels'}."
    if end - start < seconds:
        about += f" Shown: {start:.1f} to {end:.1f} s, where the systems differ most."
    case = Case(
        file=pair.name,
        about=about,
        sentence=sentence,
        rows=mine,
        tiles=_tiles(pair, systems, start, end),
        curves=pictures.curves(curves, (start, end), trust),
        flags={name: table["flags"] for name, table in trust.items() if table["flags"]},
    )
    return case, {"file": pair.name, "start": start, "end": end, "sentence": sentence}


def _tiles(pair: Pair, systems: Mapping[str, System], start: float, end: float) -> list[Tile]:
    part = slice(round(start * pair.sample_rate), round(end * pair.sample_rate))
    estimates = {name: _estimate(pair, system) for name, system in systems.items()}
    signals = [(MIXTURE, "as recorded", pair.mixture), ("clean", "the reference", pair.clean)]
    for name, estimate in estimates.items():
        signals.append((name, kind_of(systems[name]), estimate))
        signals.append((f"removed by {name}", "mixture minus estimate", pair.mixture - estimate))
    if len(estimates) > 1:
        (first, one), (second, other) = list(estimates.items())[:2]
        signals.append((f"{second} − {first}", "where the two differ", other - one))
    cuts = [(title, note, np.atleast_2d(signal)[:, part]) for title, note, signal in signals]
    peak = max(float(np.abs(signal).max()) for _, _, signal in cuts) or 1.0
    top = float(pictures.spectrum_db(cuts[0][2].mean(axis=0), pair.sample_rate).max())
    return [
        Tile(
            title,
            note,
            pictures.tile(signal.mean(axis=0), pair.sample_rate, start, top, peak),
            mp3(signal / max(1.0, peak), pair.sample_rate),
            residual=note.startswith(("mixture minus", "where")),
        )
        for title, note, signal in cuts
    ]


def _estimate(pair: Pair, system: System) -> np.ndarray:
    found = system.read(pair.name)[0] if isinstance(system, EstimateFolder) else system(pair.mixture, pair.sample_rate)
    estimate = np.asarray(found)
    if estimate.shape == pair.mixture.shape:
        return estimate
    return np.broadcast_to(estimate if estimate.ndim == 1 else estimate.mean(axis=0), pair.mixture.shape)


def mp3(signal: np.ndarray, sample_rate: int) -> bytes:
    """A signal [C, T] as MP3, which every browser plays; more than two channels are averaged."""
    if len(signal) > 2:
        signal = signal.mean(axis=0, keepdims=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the codec may round a full-scale peak up
        path = Path(folder) / "player.mp3"
        encode(path, signal.astype(np.float32), sample_rate)
        return path.read_bytes()
