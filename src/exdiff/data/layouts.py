"""The folder layouts of published data sets: which files, or streams of a file, belong together. Training,
evaluation, shards and `exdiff data check` all use this module.

Paired folders: `clean/` beside `noisy/` with the same file names, and VoiceBank-DEMAND as published
(`clean_trainset_28spk_wav`, `noisy_testset_wav` and so on). Songs: folders with `vocals.*` and `accompaniment.*`, or
with `vocals.*`, `drums.*`, `bass.*` and `other.*` (MUSDB18-HQ), and files `*.stem.mp4` (MUSDB18). Either below
`train/`, `valid/` or `test/`, or in the root itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exdiff.audio.files import audio_files
from exdiff.core.config import nearest
from exdiff.core.errors import DataError

STEM_SUFFIX = ".stem.mp4"
MUSDB_STREAMS = ("mixture", "drums", "bass", "other", "vocals")  # of a MUSDB18 file, in order
RESTS = ("drums", "bass", "other")  # the stems that are not vocals
LAYOUTS = (
    "clean/ and noisy/ with the same file names, folders of songs with vocals.* and accompaniment.* (or drums.*, "
    "bass.* and other.*), or *.stem.mp4 files"
)
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}  # folder -> split
_PAIRED = re.compile(r"clean(?:_(train|valid|test)set(?:_\w+)?)?")


@dataclass(frozen=True)
class Source:
    """One signal on disk: a file and the number of its audio stream."""

    path: Path
    stream: int = 0
    role: str = ""  # clean, mixture, vocals, accompaniment, drums, bass, other


@dataclass(frozen=True)
class Item:
    """Signals that belong together: a target, what it is mixed with, and the mixture if there is one on disk.

    `rest` is empty for paired folders. The mixture of songs without a `mixture` is the sum of target and rest.
    """

    name: str  # path relative to the data set, without the suffix
    target: Source
    rest: tuple[Source, ...] = ()
    mixture: Source | None = None
    split: str = ""  # train, valid or test; empty if unknown

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every signal, the target first."""
        return (self.target, *self.rest, *([self.mixture] if self.mixture else []))


@dataclass
class Found:
    """The items of a folder, and its faults: (file, what is wrong with it)."""

    items: list[Item] = field(default_factory=list)
    faults: list[tuple[Path, str]] = field(default_factory=list)


def find_items(root: Path, split: str, *, or_any: bool = False) -> list[Item]:
    """The items of one split, sorted by folder and name; all items if the folders name no split.

    Args:
        root: the folder of a data set.
        split: "train", "valid" or "test".
        or_any: fall back to the other splits.

    Raises:
        DataError: no such folder, no known layout, nothing in this split, or files without a partner.
    """
    if split not in SPLITS.values():
        raise DataError(f"unknown split {split!r}{nearest(split, set(SPLITS.values()))}")
    found = scan(root)
    if found.faults:
        path, text = found.faults[0]
        more = f" (and {len(found.faults) - 1} more such faults)" if len(found.faults) > 1 else ""
        raise DataError(f"{str(path)!r} {text}{more}")
    if not found.items:
        raise DataError(f"no pairs in {str(root)!r}; it must hold {LAYOUTS}")
    for wanted in (split, ""):
        if chosen := [item for item in found.items if item.split == wanted]:
            return chosen
    if not or_any:
        have = " and ".join(sorted({item.split for item in found.items}))
        raise DataError(f"{str(root)!r} holds only {have} data, nothing for the split {split!r}")
    return found.items


def scan(root: Path) -> Found:
    """Everything in the folder `root` that follows a known layout; faults are collected, not raised.

    Raises:
        DataError: no such folder.
    """
    if not root.is_dir():
        raise DataError(f"the data folder {str(root)!r} {'is a file' if root.exists() else 'does not exist'}")
    found = Found()
    _scan(root, "", found)
    return found


def audio_index(folder: Path, faults: list[tuple[Path, str]] | None = None) -> dict[str, Path]:
    """Audio files below `folder`, by their relative path without the suffix; see `audio_files`.

    Args:
        folder: searched with all its sub-folders.
        faults: files that differ from another only in the suffix are appended here; if None, they are an error.

    Raises:
        DataError: two files differ only in the suffix.
    """
    index: dict[str, Path] = {}
    for path in audio_files(folder):
        key = path.relative_to(folder).as_posix().removesuffix(path.suffix)
        if key not in index:
            index[key] = path
        elif faults is None:
            raise DataError(f"{str(index[key])!r} and {path.name!r} beside it stand for the same item; keep one")
        else:
            faults.append((path, f"and {index[key].name!r} beside it stand for the same item; keep one"))
    return index


def _scan(root: Path, split: str, found: Found) -> None:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    paired = [p for p in folders if _PAIRED.fullmatch(p.name) and _noisy(p).is_dir()]
    for clean in paired:
        match = _PAIRED.fullmatch(clean.name)
        _pairs(clean, _noisy(clean), (match[1] if match else None) or split, found)
    parts = [p for p in folders if not split and p.name in SPLITS and not _is_song(p)]
    for part in parts:
        _scan(part, SPLITS[part.name], found)
    if not paired:
        _songs(root, split, found, skip=parts)


def _noisy(clean: Path) -> Path:
    return clean.with_name("noisy" + clean.name.removeprefix("clean"))


def _is_song(folder: Path) -> bool:
    return any(p.stem == "vocals" for p in folder.iterdir())


def _pairs(clean: Path, noisy: Path, split: str, found: Found) -> None:
    targets, mixtures = audio_index(clean, found.faults), audio_index(noisy, found.faults)
    for name in sorted(targets.keys() ^ mixtures.keys()):
        path, where = (targets[name], noisy) if name in targets else (mixtures[name], clean)
        found.faults.append((path, f"lacks its partner: {name!r} is not in {where.name}/"))
    for name in targets.keys() & mixtures.keys() if targets else ():
        target, mixture = Source(targets[name], role="clean"), Source(mixtures[name], role="mixture")
        found.items.append(Item(name, target, mixture=mixture, split=split))
    found.items.sort(key=lambda item: (item.split, item.name))
    if not targets and not mixtures:
        found.faults.append((clean, f"and {noisy.name!r} beside it hold no audio files"))


def _songs(root: Path, split: str, found: Found, skip: Sequence[Path]) -> None:
    index = audio_index(root, found.faults)
    for key, path in index.items():
        if any(path.is_relative_to(part) for part in skip):
            continue
        song, _, stem = key.rpartition("/")
        if path.name.endswith(STEM_SUFFIX):
            found.items.append(stem_item(path, key.removesuffix(".stem"), split))
        elif stem == "vocals" and song:
            sources = {role: Source(index[f"{song}/{role}"], role=role) for role in _roles(index, song)}
            _song(song, split, sources, found)


def _roles(index: dict[str, Path], song: str) -> Iterator[str]:
    return (role for role in (*MUSDB_STREAMS, "accompaniment") if f"{song}/{role}" in index)


def _song(name: str, split: str, sources: dict[str, Source], found: Found) -> None:
    vocals = sources["vocals"]
    if "accompaniment" in sources:
        found.items.append(Item(name, vocals, (sources["accompaniment"],), None, split))
    elif all(role in sources for role in RESTS):
        found.items.append(Item(name, vocals, tuple(sources[r] for r in RESTS), sources.get("mixture"), split))
    else:
        have = f"only {', '.join(sources)}" if len(sources) > 1 else "nothing else"
        found.faults.append((vocals.path, f"has no accompaniment.* beside it, nor drums.*, bass.* and other.*: {have}"))


def stem_item(path: Path, name: str, split: str = "") -> Item:
    """The five streams of a MUSDB18 file, which is not opened yet.

    Example:
        >>> [source.role for source in stem_item(Path("a.stem.mp4"), "a").sources]
        ['vocals', 'drums', 'bass', 'other', 'mixture']
    """
    sources = {role: Source(path, stream, role) for stream, role in enumerate(MUSDB_STREAMS)}
    return Item(name, sources["vocals"], tuple(sources[r] for r in RESTS), sources["mixture"], split)
