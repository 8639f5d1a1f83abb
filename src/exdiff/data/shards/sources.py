"""The sources of shards: a data set in a known layout, the songs of a manifest, or examples of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from exdiff.core.config import build
from exdiff.core.errors import ConfigError, DataError
from exdiff.core.recipe import Recipe, names
from exdiff.data.clips import Clip, group_songs, read_manifest
from exdiff.data.layouts import Item, Source, find_items
from exdiff.data.shards.writer import Signals


def find_source(source: Path, *, split: str = "train", tiers: Sequence[str] = ("A", "B")) -> tuple[str, list[Item]]:
    """(kind, items) of a folder in a known layout or of a manifest, ready for `read_signals`.

    Raises:
        DataError: no known layout, or both pairs and songs.
    """
    if not source.exists() and str(source) in names():
        raise DataError(f"{str(source)!r} is a recipe; say how many of its examples to write with --examples N")
    items = _of_manifest(source, tiers) if source.suffix.lower() == ".csv" else find_items(source, split)
    kinds = {"songs" if item.rest else "pairs" for item in items}
    if len(kinds) > 1:
        raise DataError(f"{str(source)!r} holds both pairs and songs; write them into separate shards")
    return kinds.pop(), items


def examples_of(recipe: Recipe, count: int, datasets: dict[str, Any]) -> Iterator[Signals]:
    """The first `count` examples of a training run with `recipe`, mixed.

    Args:
        recipe: its sections `data` and `training` (seed, segment_seconds) are used.
        count: number of examples.
        datasets: `exdiff.data.datasets.DATASETS`.

    Raises:
        ConfigError, DataError: a bad recipe, or missing data.
    """
    training = recipe.training
    if "segment_seconds" not in training:
        raise ConfigError("training.segment_seconds is not set; it is the length of an example")
    source = build(
        datasets,
        recipe.data,
        seed=training.get("seed", 0),
        segment_seconds=training["segment_seconds"],
        sample_rate=recipe.sample_rate,
    )
    for index in range(count):
        clean, mixture = (signal if signal.ndim > 1 else signal[None] for signal in source[index])
        yield Signals(f"{recipe.name}/{index}", {"clean": clean, "mixture": mixture}, recipe.sample_rate)


def _of_manifest(path: Path, tiers: Sequence[str]) -> list[Item]:
    clips = read_manifest(path, tiers=tiers, kinds=("songs_*_vocals", "songs_*_accompaniment"))
    return [_item(name, parts, path) for name, parts in sorted(group_songs(clips).items())]


def _item(name: str, clips: list[Clip], path: Path) -> Item:
    parts = {clip.kind.rpartition("_")[2]: Source(clip.path, role=clip.kind.rpartition("_")[2]) for clip in clips}
    if len(clips) != 2 or len(parts) != 2:
        raise DataError(f"{path}: the song {name!r} has {len(clips)} parts; `exdiff data check` finds all such songs")
    return Item(name, parts["vocals"], (parts["accompaniment"],))
