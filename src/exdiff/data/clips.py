"""Clips, the recordings to train on, read from a manifest or from plain folders.

A manifest is a CSV with the columns file, kind, speaker, source, tier, seconds and, if known, `ovrl` (the clip's DNSMOS
score, so that clean recordings can be preferred as targets). Its column `pair` joins the vocals of a song to its
accompaniment (kinds `songs_NAME_vocals` and `songs_NAME_accompaniment`). Files from a folder all get one kind.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from exdiff.audio import SUFFIXES
from exdiff.audio.files import audio_files
from exdiff.core.errors import DataError
from exdiff.core.folders import cache_folder

CLIP_KINDS = frozenset(["speech", "noise", "music", "rir", "vocals", "accompaniment"])
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Clip:
    """One recording: its file, its kind, who speaks, and which class of licence it is under."""

    path: Path
    kind: str
    speaker: str = ""
    source: str = ""
    tier: str = ""
    ovrl: float | None = None  # DNSMOS overall, 1 to 5
    pair: str = ""  # the same text for the parts of one song
    stream: int = 0  # of a file with several audio streams


def expand_path(path: str) -> Path:
    """`path` with environment variables and `~` filled in.

    EXDIFF_CACHE stands for `cache_folder()`, whether it is set or not; all other variables must be set.

    Raises:
        DataError: a variable is not set.

    Example:
        >>> expand_path("${EXDIFF_CACHE}/scores.csv") == cache_folder() / "scores.csv"
        True
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        text = str(cache_folder()) if name == "EXDIFF_CACHE" else os.environ.get(name)
        if not text:
            raise DataError(f"{path}: the environment variable {name} is not set; set it, or write out the path")
        return text

    return Path(_VARIABLE.sub(value, path)).expanduser()


def read_manifest(
    manifest: Path, *, tiers: Sequence[str] | None = ("A", "B"), kinds: Iterable[str] = CLIP_KINDS
) -> list[Clip]:
    """Clips of the wanted kinds (`*` matches anything) and tiers (None: all). Paths are relative to the manifest.

    Raises:
        DataError: no such manifest, a missing column, a line that is too short, a score that is not a number, or no
            clip is left.
    """
    if not manifest.is_file():
        raise DataError(f"no manifest at {manifest}; name one with data.manifest=FILE or set EXDIFF_DATA to its folder")
    wanted = frozenset(kinds)
    clips = []
    with manifest.open(newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        missing = {"file", "kind"} - set(table.fieldnames or ())
        if missing:
            raise DataError(f"{manifest}: no column {', '.join(sorted(missing))}")
        for row in table:
            if row["file"] is None or row["kind"] is None:
                raise DataError(f"{manifest}, line {table.line_num}: it ends before the columns file and kind")
            tier = row.get("tier") or ""
            if any(fnmatchcase(row["kind"], kind) for kind in wanted) and (not tier or tiers is None or tier in tiers):
                clips.append(
                    Clip(
                        manifest.parent / row["file"],
                        row["kind"],
                        row.get("speaker") or "",
                        row.get("source") or "",
                        tier,
                        _score(row["ovrl"], manifest, table.line_num) if row.get("ovrl") else None,
                        row.get("pair") or "",
                    )
                )
    if not clips:
        raise DataError(f"{manifest}: no clip of kinds {sorted(wanted)} and tiers {list(tiers or ())}")
    return clips


def group_songs(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Clips that are parts of songs, by song: kind `songs_x_vocals` with pair `1` belongs to `songs_x/1`."""
    songs: dict[str, list[Clip]] = {}
    for clip in clips:
        family = clip.kind.rpartition("_")[0]
        if family and clip.pair:
            songs.setdefault(f"{family}/{clip.pair}", []).append(clip)
    return songs


def read_folder(root: Path, kind: str) -> list[Clip]:
    """Every audio file below `root`, sorted by path. The name of its folder is taken as its speaker and source.

    Raises:
        DataError: no such folder, or no audio in it.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} to read {kind} from")
    files = audio_files(root)
    if not files:
        raise DataError(f"no audio below {root}; known suffixes: {' '.join(sorted(SUFFIXES))}")
    return [Clip(p, kind, p.parent.name, p.parent.name) for p in files]


def read_scores(clips: Sequence[Clip], scores: Path) -> list[Clip]:
    """The clips with their `ovrl` taken from a table of scores (columns file, ovrl; paths as in the manifest).

    Raises:
        DataError: no such file, a missing column, or a score that is not a number.
    """
    if not scores.is_file():
        raise DataError(f"no scores at {scores}; make them with `exdiff data score`, or leave data.scores out")
    with scores.open(newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        missing = {"file", "ovrl"} - set(table.fieldnames or ())
        if missing:
            raise DataError(f"{scores}: no column {', '.join(sorted(missing))}")
        known = {row["file"]: _score(row["ovrl"], scores, n) for n, row in enumerate(table, 2) if row["ovrl"]}
    return [replace(c, ovrl=_lookup(known, c.path)) for c in clips]


def _score(text: str, file: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{file}, line {line}: ovrl must be a number, got {text!r}") from None


def _lookup(known: dict[str, float], path: Path) -> float | None:
    """The manifest's folder is not known here, so ever longer tails of the path are tried."""
    parts = path.parts
    for start in range(len(parts) - 1, -1, -1):
        value = known.get("/".join(parts[start:]))
        if value is not None:
            return value
    return None
