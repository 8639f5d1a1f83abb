"""Training examples for vocals: songs as they are, or remixed from stems of several, in mono or stereo.

A song consists of vocals and a rest: one accompaniment, or drums, bass and other. Recordings of vocals alone and of
music alone may be added; they only occur in remixes. The mixture is always the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import torch

from exdiff.core.config import from_table
from exdiff.core.errors import DataError
from exdiff.data.bank import open_bank
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip, expand_path, read_folder, read_manifest
from exdiff.data.draws import Choice, Groups, choice
from exdiff.data.layouts import RESTS, find_items
from exdiff.data.mixing.song_batches import SongBatches, Tables
from exdiff.data.mixing.song_mix import SongMix

Array = np.ndarray


@dataclass
class Song:
    """The clip numbers of a song's parts. A recording without a partner has vocals alone, or a rest alone."""

    vocals: int | None = None
    rest: dict[str, int] = field(default_factory=dict)  # role -> clip


class Songs:
    """A data set of endless examples; `songs[i]` -> (vocals, mixture) float32, [T] or, in stereo, [2, T].

    Args:
        segment_seconds, sample_rate: length of an example, and its rate in Hz; other files are resampled.
        seed: another seed gives other examples.
        roots: folders of songs, MUSDB18 or MUSDB18-HQ roots (only `train/` is used).
        manifest: a CSV of clips, see `clips`; kinds vocals, music, accompaniment, songs_*_vocals and
            songs_*_accompaniment.
        tiers: the classes of licence that may be used, as in the manifest.
        folders: kind (vocals, music or accompaniment) -> folders of recordings without a partner.
        leave_out: names of songs to keep for validation (`*` matches anything).
        source_weights: source in the manifest -> factor on how often its vocals are drawn (by default by duration).
        channels: 1 or 2.
        cache: folder for decoded copies.
        mix: a table of `SongMix` fields.

    Raises:
        DataError: an unset variable, a missing file, parts of a song that differ in length, or nothing to mix.
        ConfigError: an unknown key or a bad value in `mix`.
    """

    def __init__(
        self,
        *,
        segment_seconds: float,
        sample_rate: int,
        seed: int = 0,
        roots: Sequence[str] = (),
        manifest: str | None = None,
        tiers: Sequence[str] = ("A", "B"),
        folders: Mapping[str, Sequence[str]] | None = None,
        leave_out: Sequence[str] = (),
        source_weights: Mapping[str, float] | None = None,
        channels: int = 2,
        cache: str = "${EXDIFF_CACHE}",
        mix: Mapping[str, object] | None = None,
    ) -> None:
        self.length, self.sample_rate = round(segment_seconds * sample_rate), sample_rate
        self.seed, self.channels = seed, channels
        self.source_weights = dict(source_weights or {})
        self.mix = from_table(SongMix, mix or {}, "mix")
        table: dict[str, Song] = {}
        clips: list[Clip] = []
        for root in [roots] if isinstance(roots, str) else roots:
            _add_root(root, table, clips)
        if manifest:
            _add_clips(read_manifest(expand_path(manifest), tiers=tiers, kinds=_SONG_KINDS), table, clips)
        for kind, places in (folders or {}).items():
            for folder in places:
                _add_clips(read_folder(expand_path(folder), kind), table, clips)
        kept = [s for name, s in sorted(table.items()) if not any(fnmatchcase(name, word) for word in leave_out)]
        self.cache = ClipCache(clips, expand_path(cache), sample_rate, channels)
        self._arrange(kept, clips)
        self._on_host = self.on(torch.device("cpu"))

    def _arrange(self, songs: list[Song], clips: list[Clip]) -> None:
        self.singing = [s for s in songs if s.vocals is not None]
        self.playing = [s for s in songs if s.rest]
        if not self.singing or not self.playing:
            raise DataError("songs need vocals and something to mix them with; name roots, a manifest or folders")
        for song in songs:
            parts = [*([] if song.vocals is None else [song.vocals]), *song.rest.values()]
            lengths = {int(self.cache.lengths[part]) for part in parts}
            if max(lengths) - min(lengths) > 1:  # resampling may round up or down
                raise DataError(
                    f"{str(clips[parts[0]].path)!r} and its partners differ in length: {sorted(lengths)} samples at "
                    f"{self.sample_rate} Hz; `exdiff data check` finds all such songs"
                )
        self._tables = self._numbered(clips)

    def _numbered(self, clips: Sequence[Clip]) -> Tables:
        """The songs as tables of clip numbers."""
        vocals = np.array([s.vocals for s in self.singing])
        playing = [list(s.rest.items()) for s in self.playing]
        most = max(map(len, playing))
        roles = [role for role in RESTS if any(role in s.rest for s in self.playing)]
        factors = [self.source_weights.get(clips[clip].source, 1.0) for clip in vocals]
        lengths = self.cache.lengths
        return Tables(
            vocals=vocals,
            own=_filled([list(s.rest.values()) for s in self.singing], most),
            choose_vocals=choice(lengths[vocals] * np.array(factors), "source_weights leave no vocals to draw"),
            rest=_filled([[clip for _, clip in parts] for parts in playing], most),
            role=_filled([[roles.index(r) if r in RESTS else -1 for r, _ in parts] for parts in playing], most),
            of_role=Groups(
                [[s.rest[role] for s in self.playing if role in s.rest] for role in roles] or [[0]]
            ),  # which nobody draws from
            choose_rest=Choice([lengths[parts[0][1]] for parts in playing]),
        )

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        vocals, mixture = (signal[0].numpy() for signal in self._on_host.batch([index]))
        return (vocals[0], mixture[0]) if self.channels == 1 else (vocals, mixture)

    def on(self, device: torch.device, *, bank_gb: float | None = None) -> SongBatches:
        """Batches that are mixed on a device.

        Args:
            device: where to mix.
            bank_gb: gigabytes of its memory that the clips may take, see `open_bank`.
        """
        bank = open_bank(self.cache, device, bank_gb)
        form = {"channels": self.channels, "length": self.length, "sample_rate": self.sample_rate}
        return SongBatches(self._tables, bank, self.mix, seed=self.seed, **form)


def _filled(lists: Sequence[Sequence[int]], count: int) -> Array:
    """[len(lists), count], with -1 behind the end of each list."""
    return np.array([[*numbers, *[-1] * (count - len(numbers))] for numbers in lists], np.int64)


_SONG_KINDS = ("songs_*_vocals", "songs_*_accompaniment", "vocals", "accompaniment", "music")


def _add_root(root: str, table: dict[str, Song], clips: list[Clip]) -> None:
    for item in find_items(expand_path(root), "train"):
        if not item.rest:
            raise DataError(f"{item.name!r} in {root} is a pair of clean and noisy, not a song; use type: pairs")
        song = table.setdefault(item.name, Song())
        if song.vocals is not None:
            raise DataError(f"the song {item.name!r} is in two of the roots; name only one of them")
        song.vocals = _put(Clip(item.target.path, "vocals", stream=item.target.stream), clips)
        for source in item.rest:
            song.rest[source.role] = _put(Clip(source.path, source.role, stream=source.stream), clips)


def _add_clips(found: Sequence[Clip], table: dict[str, Song], clips: list[Clip]) -> None:
    for clip in found:
        family, _, kind = clip.kind.rpartition("_")
        if kind not in ("vocals", "accompaniment", "music"):
            raise DataError(f"songs are made of vocals, music or accompaniment, got the kind {clip.kind!r}")
        song = table.setdefault(f"{family}/{clip.pair}" if family and clip.pair else str(clip.path), Song())
        if kind == "vocals":
            song.vocals = _put(clip, clips)
        else:
            song.rest["accompaniment"] = _put(clip, clips)


def _put(clip: Clip, clips: list[Clip]) -> int:
    clips.append(clip)
    return len(clips) - 1
