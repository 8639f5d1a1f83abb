"""All data sets by the name that a recipe gives them (`data: {type: ...}`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exdiff.core.config import nearest
from exdiff.core.errors import DataError
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip, expand_path, read_folder, read_manifest, read_scores
from exdiff.data.mixer import Mixer
from exdiff.data.pairs import Pairs
from exdiff.data.shards import Shards
from exdiff.data.songs import Songs
from exdiff.data.synthetic import Synthetic

_MIXED = ("speech", "noise", "music", "rir")


def mix_clips(
    *,
    sample_rate: int,
    seed: int,
    segment_seconds: float,
    manifest: str | None = "${EXDIFF_DATA}/manifest.csv",
    tiers: Sequence[str] = ("A", "B"),
    folders: Mapping[str, Sequence[str]] | None = None,
    scores: str | None = None,
    cache: str = "${EXDIFF_CACHE}",
    source_weights: Mapping[str, float] | None = None,
    clean_ovrl: float | None = 2.6,
    mix: Mapping[str, object] | None = None,
) -> Mixer:
    """A `Mixer` over a manifest, folders of clips (`folders`: kind -> paths), or both; `$VARIABLES` are expanded.

    Raises:
        DataError: an unset variable, a missing file, or nothing to mix.
    """
    clips: list[Clip] = []
    if manifest:
        clips += read_manifest(expand_path(manifest), tiers=tiers, kinds=_MIXED)
    for kind, roots in (folders or {}).items():
        if kind not in _MIXED:
            raise DataError(f"folders: unknown kind {kind!r}{nearest(kind, _MIXED)}")
        for root in roots:
            clips += read_folder(expand_path(root), kind)
    if scores:
        clips = read_scores(clips, expand_path(scores))
    held = ClipCache(clips, expand_path(cache), sample_rate)
    return Mixer(
        clips,
        held,
        segment_seconds=segment_seconds,
        sample_rate=sample_rate,
        seed=seed,
        source_weights=source_weights,
        clean_ovrl=clean_ovrl,
        mix=mix,
    )


DATASETS = {"mix": mix_clips, "pairs": Pairs, "shards": Shards, "songs": Songs, "synthetic": Synthetic}

__all__ = [
    "DATASETS",
    "Clip",
    "ClipCache",
    "Mixer",
    "Pairs",
    "Shards",
    "Songs",
    "Synthetic",
    "expand_path",
    "mix_clips",
]
