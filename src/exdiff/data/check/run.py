"""Measure every signal, one group of files after another, and list the problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.audio import AudioReader
from exdiff.core.errors import AudioError
from exdiff.core.progress import track
from exdiff.data.blocks import exact_blocks
from exdiff.data.check.correlation import Correlation
from exdiff.data.check.groups import Group, take_inventory
from exdiff.data.check.measure import Measure
from exdiff.data.layouts import Source

SignalRow = dict[str, Any]
PROBLEMS = {
    "unreadable": "cannot be decoded",
    "nan": "holds NaN or infinite samples",
    "partner": "has no partner, or more than one",
    "rate": "differs in sample rate from its partner",
    "channels": "differs in the number of channels from its partner",
    "length": "differs in length from its partner",
    "unrelated": "the mixture does not contain its parts",
    "identical": "the mixture is the clean signal itself",
    "clipping": "holds runs of full-scale samples",
    "silence": "is silent, or mostly silent",
    "offset": "has a constant offset (DC)",
    "bandwidth": "much of the band is empty: it was upsampled",
    "duplicate": "holds the same samples as another file",
}
_SUMMED = {"sample_rates": "sample_rate", "channels": "channels", "encodings": "encoding"}
_OFFSET = 0.01  # of full scale
_BAND = 0.7  # share of the band
_EXEMPT = frozenset({"rir"})  # an impulse response is mostly silent, and may have any spectrum


@dataclass
class _GroupResult:
    """The rows of one group, one a signal, and its problems: (problem, number of the signal, detail)."""

    rows: list[SignalRow]
    problems: list[tuple[str, int, str]] = field(default_factory=list)


def check_data(path: Path, *, workers: int = 1, silence: float = 0.9) -> dict[str, Any]:
    """Check every signal of a data set; `PROBLEMS` lists what is reported.

    Args:
        path: any folder, a manifest.csv, or one file.
        workers: processes; each holds one group of files at a time, and one second of each file.
        silence: largest share of a file that may be silent, 0 to 1.

    Returns:
        Plain values: `data`, `layout`, `signals`, `hours`, `sample_rates`, `channels`, `encodings`, `problems`
        (problem -> list of file and detail), `faulty` (files with a problem), `rows` (one a signal).

    Raises:
        DataError: nothing to check.
    """
    inventory = take_inventory(path)
    problems: dict[str, list[dict[str, str]]] = {kind: [] for kind in PROBLEMS}
    for file, text in inventory.faults:
        problems["partner"].append({"file": _name(file, inventory.root), "detail": text})
    rows: list[SignalRow] = []
    work = partial(check_group, root=inventory.root, silence=silence)
    for result in track(_results(inventory.groups, work, workers), "checking", total=len(inventory.groups)):
        for kind, number, detail in result.problems:
            problems[kind].append({"file": result.rows[number]["file"], "detail": detail})
        rows += result.rows
    problems["duplicate"] = list(_duplicates(rows))
    clipped = {row["file"]: row["clipped_samples"] for row in rows if "error" not in row}
    problems["clipping"].sort(key=lambda fault: -clipped[fault["file"]])
    read = [row for row in rows if "error" not in row]
    found = {kind: faults for kind, faults in problems.items() if faults}
    return {
        "data": str(path),
        "layout": inventory.layout,
        "signals": len(rows),
        "hours": round(sum(row["seconds"] for row in read) / 3600, 4),
        **{name: _counted(read, key) for name, key in _SUMMED.items()},
        "problems": found,
        "faulty": len({fault["file"] for faults in found.values() for fault in faults}),
        "rows": rows,
    }


def _results(groups: Sequence[Group], work: Any, workers: int) -> Iterator[_GroupResult]:
    if workers <= 1:
        yield from map(work, groups)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, groups, chunksize=8)


def check_group(group: Group, *, root: Path, silence: float) -> _GroupResult:
    """Measure the signals of a group, read side by side in blocks."""
    rows: list[SignalRow] = [_about(source, group, root) for source in group.sources]
    result = _GroupResult(rows)
    with ExitStack() as stack:
        readers: list[AudioReader | None] = []
        for number, source in enumerate(group.sources):
            try:
                readers.append(stack.enter_context(AudioReader(source.path, source.stream)))
            except AudioError as error:
                readers.append(None)
                _unreadable(result, number, source, error)
        measures = _measure(readers, group, result)
    for number, (reader, measure) in enumerate(zip(readers, measures, strict=True)):
        if reader is not None and measure is not None and "error" not in rows[number]:
            rows[number] |= {"encoding": reader.info.subtype, **measure.row()}
            if group.sources[number].role not in _EXEMPT:
                result.problems += [(kind, number, text) for kind, text in _faults(measure, silence)]
    _compare(result, [row for row in rows if "error" not in row])
    return result


def _measure(readers: Sequence[AudioReader | None], group: Group, result: _GroupResult) -> list[Measure | None]:
    measures = [Measure(r.info.sample_rate, r.info.channels) if r else None for r in readers]

    def blocks(number: int, reader: AudioReader) -> Iterator[np.ndarray]:
        try:
            yield from exact_blocks(reader.blocks(), reader.info.sample_rate)
        except AudioError as error:
            _unreadable(result, number, group.sources[number], error)

    alive = [number for number, reader in enumerate(readers) if reader is not None]
    roles = [source.role for source in group.sources]
    correlation = Correlation(roles)
    for parts in zip_longest(*(blocks(n, r) for n, r in enumerate(readers) if r is not None)):
        by_number = {n: part for n, part in zip(alive, parts, strict=True) if part is not None}
        for number, part in by_number.items():
            measure = measures[number]
            assert measure is not None
            measure.add(part)
        correlation.add(by_number)
    for measure in measures:
        if measure is not None:
            measure.finish()
    for kind, text in correlation.problems(result.rows[0]["file"]):
        result.problems.append((kind, roles.index("mixture"), text))
    return measures


def _faults(measure: Measure, silence: float) -> Iterator[tuple[str, str]]:
    if measure.runs:
        yield (
            "clipping",
            f"{measure.runs} runs, {measure.clipped} samples, {measure.clipped / measure.frames:.1e} of all samples",
        )
    if measure.silent_share >= 1:
        yield "silence", "all of it"
    elif measure.silent_share > silence:
        yield "silence", f"{100 * measure.silent_share:.0f} % of it"
    if abs(measure.dc) > _OFFSET:
        yield "offset", f"{measure.dc:+.3f} of full scale"
    band, half = measure.bandwidth(), measure.sample_rate / 2
    if band < _BAND * half:
        yield "bandwidth", f"nothing above {band / 1000:.1f} kHz of {half / 1000:.5g} kHz"


def _compare(result: _GroupResult, read: list[SignalRow]) -> None:
    """Compare rate, channels and length of each signal with those of the first one that could be read."""
    for row in read[1:]:
        number = result.rows.index(row)
        if row["sample_rate"] != read[0]["sample_rate"]:
            values = f"{row['sample_rate']} Hz against {read[0]['sample_rate']} Hz of {read[0]['file']}"
            result.problems.append(("rate", number, values))
        elif row["frames"] != read[0]["frames"]:
            values = f"{row['frames']} samples against {read[0]['frames']} of {read[0]['file']}"
            result.problems.append(("length", number, values))
        if row["channels"] != read[0]["channels"]:
            values = f"{row['channels']} channels against {read[0]['channels']} of {read[0]['file']}"
            result.problems.append(("channels", number, values))


def _duplicates(rows: Sequence[SignalRow]) -> Iterator[dict[str, str]]:
    """One entry for each set of equal signals in different groups."""
    same: dict[str, dict[int, SignalRow]] = {}
    for row in rows:
        if row.get("content"):
            same.setdefault(row["content"], {}).setdefault(row["group"], row)
    for alike in same.values():
        first, *others = alike.values()
        if others:
            splits = sorted({row["split"] for row in alike.values() if row["split"]})
            across = f"; in {' and '.join(splits)}" if len(splits) > 1 else ""
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            names = ", ".join(row["file"] for row in others[:3])
            yield {"file": first["file"], "detail": f"the same as {names}{more}{across}"}


def _about(source: Source, group: Group, root: Path) -> SignalRow:
    stream = f" [{source.role}]" if source.path.name.endswith(".stem.mp4") else ""
    row = {"file": _name(source.path, root) + stream, "role": source.role, "split": group.split}
    return {**row, "group": _name(group.sources[0].path, root)}


def _unreadable(result: _GroupResult, number: int, source: Source, error: AudioError) -> None:
    text = str(error).removeprefix(f"{source.path}: ")
    result.rows[number]["error"] = text
    result.problems.append(("nan" if text.startswith("holds NaN") else "unreadable", number, text))


def _counted(rows: Sequence[SignalRow], key: str) -> dict[str, int]:
    return {str(value): count for value, count in Counter(row[key] for row in rows).most_common()}


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
