"""Measuring every signal, one group of files after another, and judging what was found."""

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
from exdiff.data.blocks import exact_blocks
from exdiff.data.check.groups import Group, make_plan
from exdiff.data.check.kinship import Kinship
from exdiff.data.check.measure import Measure
from exdiff.data.layouts import Source
from exdiff.errors import AudioError
from exdiff.progress import track

Row = dict[str, Any]
KINDS = {
    "unreadable": "cannot be decoded",
    "nan": "holds NaN or infinite samples",
    "partner": "lacks its partner, or has one too many",
    "rate": "another sample rate than its partner",
    "channels": "another number of channels than its partner",
    "length": "another length than its partner",
    "unrelated": "the mixture does not contain what it is a mixture of",
    "identical": "the mixture is the clean signal itself",
    "clipping": "runs of full-scale samples",
    "silence": "silent, or mostly",
    "offset": "a constant offset (DC)",
    "bandwidth": "nothing in much of the band: sampled up",
    "duplicate": "the same sound as another file",
}
_SUMMED = {"sample_rates": "sample_rate", "channels": "channels", "encodings": "encoding"}
_OFFSET = 0.01  # of full scale
_BAND = 0.7  # share of the band
_UNJUDGED = frozenset({"rir"})  # an impulse is silent for most of its length, and has any spectrum


@dataclass
class _Result:
    """Of one group: a row a signal, and (kind, number of the signal, detail)."""

    rows: list[Row]
    problems: list[tuple[str, int, str]] = field(default_factory=list)


def check_data(path: Path, *, workers: int = 1, silence: float = 0.9) -> dict[str, Any]:
    """Look at every signal of a data set; see `KINDS` for what is reported.

    Args:
        path: a folder in a known layout or any other, a manifest.csv, or one file.
        workers: processes; each has one group of files open at a time, and a block of a second of each.
        silence: share of a file that may be silent.

    Returns:
        Plain values: `data`, `layout`, `signals`, `hours`, `sample_rates`, `channels`, `encodings`, `problems`
        (kind -> list of file and detail), `faulty` (files with a problem), `rows` (one a signal).

    Raises:
        DataError: nothing to check.
    """
    plan = make_plan(path)
    problems: dict[str, list[dict[str, str]]] = {kind: [] for kind in KINDS}
    for file, text in plan.faults:
        problems["partner"].append({"file": _name(file, plan.root), "detail": text})
    rows: list[Row] = []
    work = partial(check_group, root=plan.root, silence=silence)
    for result in track(_results(plan.groups, work, workers), "checking", total=len(plan.groups)):
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
        "layout": plan.layout,
        "signals": len(rows),
        "hours": round(sum(row["seconds"] for row in read) / 3600, 4),
        **{name: _counted(read, key) for name, key in _SUMMED.items()},
        "problems": found,
        "faulty": len({fault["file"] for faults in found.values() for fault in faults}),
        "rows": rows,
    }


def _results(groups: Sequence[Group], work: Any, workers: int) -> Iterator[_Result]:
    if workers <= 1:
        yield from map(work, groups)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, groups, chunksize=8)


def check_group(group: Group, *, root: Path, silence: float) -> _Result:
    """Read the signals of a group side by side, block by block."""
    rows: list[Row] = [_about(source, group, root) for source in group.sources]
    result = _Result(rows)
    with ExitStack() as stack:
        readers: list[AudioReader | None] = []
        for number, source in enumerate(group.sources):
            try:
                readers.append(stack.enter_context(AudioReader(source.path, source.stream)))
            except AudioError as error:
                readers.append(None)
                _unreadable(result, number, source, error)
        measures = _listen(readers, group, result)
    for number, (reader, measure) in enumerate(zip(readers, measures, strict=True)):
        if reader is not None and measure is not None and "error" not in rows[number]:
            rows[number] |= {"encoding": reader.info.subtype, **measure.row()}
            if group.sources[number].role not in _UNJUDGED:
                result.problems += [(kind, number, text) for kind, text in _faults(measure, silence)]
    _compare(result, [row for row in rows if "error" not in row])
    return result


def _listen(readers: Sequence[AudioReader | None], group: Group, result: _Result) -> list[Measure | None]:
    measures = [Measure(r.info.sample_rate, r.info.channels) if r else None for r in readers]

    def blocks(number: int, reader: AudioReader) -> Iterator[np.ndarray]:
        try:
            yield from exact_blocks(reader.blocks(), reader.info.sample_rate)
        except AudioError as error:
            _unreadable(result, number, group.sources[number], error)

    alive = [number for number, reader in enumerate(readers) if reader is not None]
    roles = [source.role for source in group.sources]
    kin = Kinship(roles)
    for parts in zip_longest(*(blocks(n, r) for n, r in enumerate(readers) if r is not None)):
        by_number = {n: part for n, part in zip(alive, parts, strict=True) if part is not None}
        for number, part in by_number.items():
            measure = measures[number]
            assert measure is not None
            measure.add(part)
        kin.add(by_number)
    for measure in measures:
        if measure is not None:
            measure.finish()
    for kind, text in kin.judge(result.rows[0]["file"]):
        result.problems.append((kind, roles.index("mixture"), text))
    return measures


def _faults(measure: Measure, silence: float) -> Iterator[tuple[str, str]]:
    if measure.runs:
        yield (
            "clipping",
            f"{measure.runs} runs, {measure.clipped} samples, {measure.clipped / measure.frames:.1e} of all",
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


def _compare(result: _Result, read: list[Row]) -> None:
    """Rate, channels and length of each signal against the first that could be read."""
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


def _duplicates(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """One entry a set of equal signals; those of one group are its own business."""
    same: dict[str, dict[int, Row]] = {}
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


def _about(source: Source, group: Group, root: Path) -> Row:
    stream = f" [{source.role}]" if source.path.name.endswith(".stem.mp4") else ""
    row = {"file": _name(source.path, root) + stream, "role": source.role, "split": group.split}
    return {**row, "group": _name(group.sources[0].path, root)}


def _unreadable(result: _Result, number: int, source: Source, error: AudioError) -> None:
    text = str(error).removeprefix(f"{source.path}: ")
    result.rows[number]["error"] = text
    result.problems.append(("nan" if text.startswith("holds NaN") else "unreadable", number, text))


def _counted(rows: Sequence[Row], key: str) -> dict[str, int]:
    return {str(value): count for value, count in Counter(row[key] for row in rows).most_common()}


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
