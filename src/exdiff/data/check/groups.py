"""The signals to check, from a known layout, a manifest, any folder of audio, or one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from exdiff.audio.files import audio_files, is_audio
from exdiff.core.errors import DataError
from exdiff.data.clips import group_songs, read_manifest
from exdiff.data.layouts import SPLITS, STEM_SUFFIX, Item, Source, scan


@dataclass(frozen=True)
class Group:
    """Signals that belong together, the target first, or a single signal."""

    sources: tuple[Source, ...]
    split: str = ""


@dataclass
class Inventory:
    """All groups of a data set, and the faults in how they belong together: (file, what is wrong with it)."""

    layout: str
    root: Path
    groups: list[Group] = field(default_factory=list)
    faults: list[tuple[Path, str]] = field(default_factory=list)


def take_inventory(path: Path) -> Inventory:
    """Find the signals at `path`.

    Raises:
        DataError: it does not exist, holds no audio, or is something else.
    """
    if not path.exists():
        raise DataError(f"{str(path)!r} does not exist; name a folder of audio, a manifest.csv or a file")
    if path.is_dir():
        inventory = _of_folder(path)
    elif path.suffix.lower() == ".csv":
        inventory = _of_manifest(path)
    elif is_audio(path):
        inventory = _of_folder(path.parent, only=path)
    else:
        raise DataError(f"{str(path)!r} is not a folder, manifest.csv or audio file, so it cannot be checked")
    if not inventory.groups and not inventory.faults:
        shards = " (shards cannot be checked; check the data they were made from)" if any(path.glob("*.tar")) else ""
        raise DataError(f"no audio in {str(path)!r}{shards}")
    return inventory


def _of_folder(root: Path, only: Path | None = None) -> Inventory:
    found = scan(root)
    items = found.items if only is None else [i for i in found.items if i.target.path == only and i.target.stream]
    inventory = Inventory(
        _layout(items), root, [Group(i.sources, i.split) for i in items], [] if only else found.faults
    )
    known = {source.path for item in items for source in item.sources}
    for path in audio_files(root) if only is None else [only]:
        if path not in known:
            top = path.relative_to(root).parts[0]
            inventory.groups.append(Group((Source(path),), SPLITS.get(top, "")))
    if items and len(inventory.groups) > len(items):
        inventory.layout += " and other files"
    return inventory


def _layout(items: list[Item]) -> str:
    if not items:
        return "files"
    if not items[0].rest:
        return "pairs"
    return "MUSDB18 stems" if items[0].target.path.name.endswith(STEM_SUFFIX) else "songs"


def _of_manifest(path: Path) -> Inventory:
    inventory = Inventory("manifest", path.parent)
    clips = read_manifest(path, tiers=None, kinds=["*"])
    songs = group_songs(clips)
    parts_of_songs = {id(clip) for parts in songs.values() for clip in parts}
    inventory.groups += [Group((Source(c.path, c.stream, c.kind),)) for c in clips if id(c) not in parts_of_songs]
    for name, parts in sorted(songs.items()):
        kinds = sorted((clip.kind.rpartition("_")[2] for clip in parts), reverse=True)
        if kinds != ["vocals", "accompaniment"]:
            inventory.faults.append((parts[0].path, f"the song {name!r} has {', '.join(kinds)}"))
        in_order = sorted(parts, key=lambda clip: not clip.kind.endswith("vocals"))
        inventory.groups.append(Group(tuple(Source(c.path, c.stream, c.kind.rpartition("_")[2]) for c in in_order)))
    return inventory
