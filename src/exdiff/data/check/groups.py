"""What there is to check: a known layout, a manifest, any folder of audio, or one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from exdiff.audio import SUFFIXES
from exdiff.data.clips import group_songs, read_manifest
from exdiff.data.layouts import SPLITS, STEM_SUFFIX, Item, Source, audio_files, scan
from exdiff.errors import DataError


@dataclass(frozen=True)
class Group:
    """Signals that belong together, the target first; or one by itself."""

    sources: tuple[Source, ...]
    split: str = ""


@dataclass
class Plan:
    """Everything to look at, and what is wrong already: (file, what)."""

    layout: str
    root: Path
    groups: list[Group] = field(default_factory=list)
    faults: list[tuple[Path, str]] = field(default_factory=list)


def make_plan(path: Path) -> Plan:
    """Find the signals at `path`.

    Raises:
        DataError: it does not exist, holds no audio, or is something else.
    """
    if not path.exists():
        raise DataError(f"{str(path)!r} does not exist; name a folder of audio, a manifest.csv or a file")
    if path.is_dir():
        plan = _of_folder(path)
    elif path.suffix.lower() == ".csv":
        plan = _of_manifest(path)
    elif path.suffix.lower().lstrip(".") in SUFFIXES:
        plan = _of_folder(path.parent, only=path)
    else:
        raise DataError(f"{str(path)!r} is no folder, manifest.csv or audio file, so it cannot be checked")
    if not plan.groups and not plan.faults:
        shards = " (shards are not looked into: check what they are made of)" if any(path.glob("*.tar")) else ""
        raise DataError(f"no audio in {str(path)!r}{shards}")
    return plan


def _of_folder(root: Path, only: Path | None = None) -> Plan:
    found = scan(root)
    items = found.items if only is None else [i for i in found.items if i.target.path == only and i.target.stream]
    plan = Plan(_layout(items), root, [Group(i.sources, i.split) for i in items], [] if only else found.faults)
    known = {source.path for item in items for source in item.sources}
    for path in audio_files(root) if only is None else [only]:
        if path not in known:
            top = path.relative_to(root).parts[0]
            plan.groups.append(Group((Source(path),), SPLITS.get(top, "")))
    if items and len(plan.groups) > len(items):
        plan.layout += " and other files"
    return plan


def _layout(items: list[Item]) -> str:
    if not items:
        return "files"
    if not items[0].rest:
        return "pairs"
    return "MUSDB18 stems" if items[0].target.path.name.endswith(STEM_SUFFIX) else "songs"


def _of_manifest(path: Path) -> Plan:
    plan = Plan("manifest", path.parent)
    clips = read_manifest(path, tiers=None, kinds=["*"])
    songs = group_songs(clips)
    parts_of_songs = {id(clip) for parts in songs.values() for clip in parts}
    plan.groups += [Group((Source(c.path, c.stream, c.kind),)) for c in clips if id(c) not in parts_of_songs]
    for name, parts in sorted(songs.items()):
        kinds = sorted((clip.kind.rpartition("_")[2] for clip in parts), reverse=True)
        if kinds != ["vocals", "accompaniment"]:
            plan.faults.append((parts[0].path, f"the song {name!r} has {', '.join(kinds)}"))
        in_order = sorted(parts, key=lambda clip: not clip.kind.endswith("vocals"))
        plan.groups.append(Group(tuple(Source(c.path, c.stream, c.kind.rpartition("_")[2]) for c in in_order)))
    return plan
