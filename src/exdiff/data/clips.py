"""Clips: what there is to train on, read from a manifest or from plain folders.

A manifest is a CSV with the columns file, kind, speaker, source, tier, seconds and, if known, `ovrl` (DNSMOS of the
clip, so that clean recordings can be preferred as targets); `pair` joins the vocals of a song with its accompaniment
(kinds `songs_NAME_vocals` and `songs_NAME_accompaniment`). A folder gives its files one kind and no further facts.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from exdiff.errors import DataError

AUDIO_SUFFIXES = frozenset([".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".g722", ".aiff", ".aif"])
KINDS = frozenset(["speech", "noise", "music", "rir", "vocals", "accompaniment"])


@dataclass(frozen=True)
class Clip:
    """One recording: where it lies, what it is, who speaks, under which terms it may be used."""

    path: Path
    kind: str
    speaker: str = ""
    source: str = ""
    tier: str = ""
    ovrl: float | None = None  # DNSMOS overall, 1 to 5
    pair: str = ""  # what the parts of one song have in common
    stream: int = 0  # of a file with several audio streams


def expand(path: str) -> Path:
    """Environment variables and `~` in a path; EXDIFF_CACHE has a default, all others must be set.

    Raises:
        DataError: a variable is not set.
    """
    os.environ.setdefault("EXDIFF_CACHE", str(Path.home() / ".cache" / "exdiff"))
    full = os.path.expanduser(os.path.expandvars(path))
    if "$" in full:
        raise DataError(f"{path}: set the environment variable that it names, or give the path itself")
    return Path(full)


def read_manifest(
    manifest: Path, *, tiers: Sequence[str] | None = ("A", "B"), kinds: Iterable[str] = KINDS
) -> list[Clip]:
    """Clips of the wanted kinds (`*` stands for anything) and tiers (None: all); paths are below the manifest's folder.

    Raises:
        DataError: no such manifest, a missing column, a score that is no number, or nothing left after the selection.
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
        for number, row in enumerate(table, 2):
            tier = row.get("tier") or ""
            if any(fnmatchcase(row["kind"] or "", kind) for kind in wanted) and (
                not tier or tiers is None or tier in tiers
            ):
                clips.append(
                    Clip(
                        manifest.parent / row["file"],
                        row["kind"],
                        row.get("speaker") or "",
                        row.get("source") or "",
                        tier,
                        _score(row["ovrl"], manifest, number) if row.get("ovrl") else None,
                        row.get("pair") or "",
                    )
                )
    if not clips:
        raise DataError(f"{manifest}: no clip of kinds {sorted(wanted)} and tiers {list(tiers or ())}")
    return clips


def group_songs(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Clips that are parts of songs, by family and pair: kind `songs_x_vocals` with pair `1` is of `songs_x/1`."""
    songs: dict[str, list[Clip]] = {}
    for clip in clips:
        family = clip.kind.rpartition("_")[0]
        if family and clip.pair:
            songs.setdefault(f"{family}/{clip.pair}", []).append(clip)
    return songs


def read_folder(root: Path, kind: str) -> list[Clip]:
    """Every audio file below `root`, in the order of its path; its speaker and source are its parent folder.

    Raises:
        DataError: no such folder, or no audio in it.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root} to read {kind} from")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        raise DataError(f"no audio below {root}; looked for {' '.join(sorted(AUDIO_SUFFIXES))}")
    return [Clip(p, kind, p.parent.name, p.parent.name) for p in files]


def read_scores(clips: Sequence[Clip], scores: Path) -> list[Clip]:
    """Add the `ovrl` column of a scores file (columns file, ovrl; paths as in the manifest) to the clips.

    Raises:
        DataError: no such file, a missing column, or a score that is no number.
    """
    if not scores.is_file():
        raise DataError(f"no scores at {scores}; make them with exdiff.data.score_clips, or leave data.scores out")
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
    """The manifest's root is not known here, so try ever longer tails of the path."""
    parts = path.parts
    for start in range(len(parts) - 1, -1, -1):
        value = known.get("/".join(parts[start:]))
        if value is not None:
            return value
    return None
