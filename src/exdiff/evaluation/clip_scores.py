"""Score every speech clip with DNSMOS once, so that clean ones can be preferred as targets (`Mixer`, `clean_ovrl`)."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TextIO

import numpy as np

from exdiff.audio import decode_mono
from exdiff.core.errors import AudioError, DataError
from exdiff.core.progress import track
from exdiff.data.clips import Clip, read_manifest

Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]
ScoreRow = tuple[str, str, str, str]  # of COLUMNS

COLUMNS = ("file", "ovrl", "sig", "bak")
RATE = 16000  # Hz, of DNSMOS
_PEAK = 0.7
WINDOW = 144160  # samples that DNSMOS takes at once
MINIMUM_SECONDS = 1.0  # DNSMOS repeats shorter clips many times, and their scores mean little


def score_clips(manifest: Path, out_csv: Path, workers: int = 1, scorer: Scorer | None = None) -> int:
    """Score the speech clips of `manifest` into `out_csv` (columns file, ovrl, sig, bak).

    A row is written as soon as its clip is scored, and clips that have a row are skipped: an interrupted run continues
    where it stopped. Clips that are too short or silent get a row without numbers.

    Args:
        manifest: see `clips.read_manifest`; all tiers are scored.
        out_csv: for `data.scores` of a recipe; it has the paths of the manifest.
        workers: processes.
        scorer: (estimate, clean, mixture, sample_rate) -> table with dnsmos_ovrl, dnsmos_sig, dnsmos_bak; default
            `exdiff.evaluation.metrics.dnsmos`. With several workers it must be a function of a module.

    Returns:
        The number of clips scored now.

    Raises:
        DataError: a bad manifest, a clip that cannot be decoded, or `out_csv` is another table.
    """
    if scorer is None:
        from exdiff.evaluation.metrics import dnsmos as scorer
    root = manifest.parent
    rows = _known(out_csv)
    done = {row[0] for row in rows}
    clips = [c for c in read_manifest(manifest, tiers=("A", "B", "C"), kinds=("speech",)) if _name(c, root) not in done]
    out_csv.parent.mkdir(parents=True, exist_ok=True)
    temporary = out_csv.with_name(f"{out_csv.name}.tmp")
    with temporary.open("w", newline="", encoding="utf-8") as out:
        _write(out, [COLUMNS, *rows])
    temporary.replace(out_csv)  # without the incomplete line that an interrupted run may have left
    with out_csv.open("a", newline="", encoding="utf-8") as out:
        for row in track(_scored(clips, partial(_score_one, scorer, root), workers), "scoring", total=len(clips)):
            _write(out, [row])
    return len(clips)


def _scored(clips: list[Clip], work: Callable[[Clip], ScoreRow], workers: int) -> Iterator[ScoreRow]:
    if workers <= 1:
        yield from map(work, clips)
        return
    # Spawned, not forked: the scorer's runtime has threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, clips, chunksize=4)


def _score_one(scorer: Scorer, root: Path, clip: Clip) -> ScoreRow:
    try:
        audio = decode_mono(clip.path, RATE)
    except AudioError as error:
        raise DataError(f"cannot score a clip: {error}") from error
    name = _name(clip, root)
    if len(audio) < MINIMUM_SECONDS * RATE:
        return name, "", "", ""
    # One window, with the clip repeated or cut to fit: the metric's own windows overlap so much that a clip of five
    # seconds takes three of them, and one ranks clips just as well. All get the same peak, since scores depend on it.
    audio = np.resize(audio, WINDOW)
    audio = (audio * (_PEAK / max(float(np.abs(audio).max()), 1e-5))).astype(np.float32)
    scores = scorer(audio, audio, audio, RATE)
    ovrl, sig, bak = (f"{v:.4f}" if math.isfinite(v) else "" for v in (scores[f"dnsmos_{k}"] for k in COLUMNS[1:]))
    return name, ovrl, sig, bak


def _name(clip: Clip, root: Path) -> str:
    return clip.path.relative_to(root).as_posix()


def _known(out_csv: Path) -> list[ScoreRow]:
    """The complete rows of an earlier run."""
    if not out_csv.is_file():
        return []
    text = out_csv.read_text(encoding="utf-8")
    lines = text.splitlines()[: None if text.endswith("\n") else -1]
    table = list(csv.reader(lines))
    if table and tuple(table[0]) != COLUMNS:
        raise DataError(f"{out_csv} has the columns {', '.join(table[0])}, not {', '.join(COLUMNS)}; name another file")
    return [(r[0], r[1], r[2], r[3]) for r in table[1:] if len(r) == len(COLUMNS)]


def _write(out: TextIO, rows: Iterable[Iterable[str]]) -> None:
    csv.writer(out, lineterminator="\n").writerows(rows)
    out.flush()
