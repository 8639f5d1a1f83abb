"""Training examples for vocals: songs as they are, or remixed from stems of several, in mono or stereo.

A song is vocals and a rest: one accompaniment, or drums, bass and other. Recordings of vocals alone and of music alone
may be added; they only meet in remixes. The mixture is always the sum of what went into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from exdiff.audio import resample
from exdiff.config import check_names
from exdiff.data.augment import equalise, pan, rms, spread, widen
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip, expand, read_folder, read_manifest
from exdiff.data.layouts import RESTS, find_items
from exdiff.data.pairs import crop, place
from exdiff.errors import DataError

Array = np.ndarray
Rng = np.random.Generator
_HEARD = 1e-3  # RMS above which a crop of vocals counts as singing
_TRIES = 8  # crops drawn in search of singing


@dataclass(frozen=True)
class SongMix:
    """Probabilities and ranges of the mixing."""

    remix: float = 0.5  # share of examples whose stems come from several songs
    snr_db: tuple[float, float] = (-10.0, 6.0)  # of the vocals against the rest in a remix, by their levels as wholes
    gain_db: tuple[float, float] = (-4.0, 4.0)  # of every stem
    speed: tuple[float, float] = (1.0, 1.0)  # of what is played together, its pitch included
    swap_share: float = 0.5  # of stems whose two channels change places
    widen_share: float = 0.7  # of mono stems that do not stay in the middle of a stereo example
    spread_share: float = 0.6  # of mono vocals that get doubles and a hall, which belong to them, in a stereo example
    equalise_db: float = 0.0  # range of a smooth gain over frequency, for every stem
    clean_share: float = 0.02  # of examples with vocals alone ...
    silent_share: float = 0.08  # ... and with none; the others have singing where eight crops find it
    level_db: tuple[float, float] = (-32.0, -12.0)  # RMS of the mixture, re full scale

    @classmethod
    def of(cls, table: Mapping[str, Any] | None) -> SongMix:
        """The fields that `table` names, the others as above; ValueError names the nearest one to a typo."""
        check_names("key of mix:", table or (), cls.__dataclass_fields__)
        return cls(**(table or {}))


@dataclass
class Song:
    """Parts by number of their clips; one of the two is missing where only vocals or only music are there."""

    vocals: int | None = None
    rest: dict[str, int] = field(default_factory=dict)  # role -> clip


class Songs:
    """A data set of endless examples; `songs[i]` -> (vocals, mixture) float32, [T] or, in stereo, [2, T].

    Args:
        segment_seconds, sample_rate: size of an example; files of other rates are resampled.
        seed: another seed, other examples.
        roots: folders of songs, MUSDB18 or MUSDB18-HQ roots (of which `train/` is used).
        manifest: a CSV of clips, see `clips`; kinds vocals, music, accompaniment, songs_*_vocals and
            songs_*_accompaniment.
        tiers: licences that may be used, of the manifest.
        folders: kind (vocals, music or accompaniment) -> folders of recordings without a partner.
        leave_out: names of songs (`*` stands for anything) that are kept for validation.
        source_weights: source, as in the manifest -> how much more often than by its hours its vocals are drawn.
        channels: 1 or 2.
        cache: where decoded copies live.
        mix: probabilities, as a table of `SongMix` fields.

    Raises:
        DataError: an unset variable, a missing file, parts of a song that differ in length, or nothing to mix.
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
        self.mix = SongMix.of(mix)
        table: dict[str, Song] = {}
        clips: list[Clip] = []
        for root in [roots] if isinstance(roots, str) else roots:
            _add_root(root, table, clips)
        if manifest:
            _add_clips(read_manifest(expand(manifest), tiers=tiers, kinds=_KINDS), table, clips)
        for kind, places in (folders or {}).items():
            for folder in places:
                _add_clips(read_folder(expand(folder), kind), table, clips)
        kept = [s for name, s in sorted(table.items()) if not any(fnmatchcase(name, word) for word in leave_out)]
        self.cache = ClipCache(clips, expand(cache), sample_rate, channels)
        self._arrange(kept, clips)

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
        self._of_role = {role: [s.rest[role] for s in self.playing if role in s.rest] for role in RESTS}
        singing = [s.vocals for s in self.singing if s.vocals is not None]
        self._singing_weights = self._weights(singing, [self.source_weights.get(clips[i].source, 1.0) for i in singing])
        playing = [next(iter(s.rest.values())) for s in self.playing]
        self._playing_weights = self._weights(playing, [1.0] * len(playing))
        self._levels: dict[int, float] = {}

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        song = self.singing[int(rng.choice(len(self.singing), p=self._singing_weights))]
        vocals_clip = song.vocals
        assert vocals_clip is not None
        span = self._span(rng)
        vocals, start = self._vocals(vocals_clip, span, rng)
        if not song.rest or rng.uniform() < self.mix.remix:
            rest = self._other_rest(vocals_clip, rng)
        else:
            rest = [self._read(clip, start, span) for clip in song.rest.values()]
        return mix_song(vocals, rest, self.mix, rng, channels=self.channels, sample_rate=self.sample_rate)

    def _span(self, rng: Rng) -> int:
        """Frames of recordings that fill an example, at a speed of their own."""
        return round(self.length * rng.uniform(*self.mix.speed))

    def _vocals(self, clip: int, span: int, rng: Rng) -> tuple[Array, tuple[int, int]]:
        best: tuple[Array, tuple[int, int]] | None = None
        for _ in range(_TRIES):
            start = crop(int(self.cache.lengths[clip]), span, rng)
            audio = self._read(clip, start, span)
            if best is None or rms(audio) > _HEARD:
                best = audio, start
            if rms(audio) > _HEARD:
                break
        assert best is not None
        return best

    def _other_rest(self, vocals: int, rng: Rng) -> list[Array]:
        """Stems of any songs, at a level that has to do with that of the vocals."""
        song = self.playing[int(rng.choice(len(self.playing), p=self._playing_weights))]
        clips = [int(rng.choice(self._of_role[role])) if role in RESTS else clip for role, clip in song.rest.items()]
        level = float(np.sqrt(sum(self._level(clip) ** 2 for clip in clips)))
        gain = self._level(vocals) / level * 10 ** (-rng.uniform(*self.mix.snr_db) / 20)
        span = self._span(rng)
        return [gain * self._read(c, crop(int(self.cache.lengths[c]), span, rng), span) for c in clips]

    def _read(self, clip: int, start: tuple[int, int], span: int) -> Array:
        """`span` frames as [C, T] of the example's length, with as many channels as the clip has."""
        audio = np.atleast_2d(self.cache.read(clip, start[0], span))
        out = np.zeros((len(audio), span), np.float32)
        stop = min(span, start[1] + audio.shape[-1])
        out[:, start[1] : stop] = audio[:, : stop - start[1]]
        return resample(out, span, self.length)

    def _level(self, clip: int) -> float:
        if clip not in self._levels:
            self._levels[clip] = max(self.cache.level(clip), 1e-4)
        return self._levels[clip]

    def _weights(self, clips: Sequence[int], factors: Sequence[float]) -> Array:
        """Long recordings more often, and by the factors."""
        weights = self.cache.lengths[list(clips)] * np.asarray(factors, np.float64)
        if weights.sum() <= 0:
            raise DataError("source_weights leave no vocals to draw")
        return weights / weights.sum()


def mix_song(
    vocals: Array, rest: Sequence[Array], mix: SongMix, rng: Rng, *, channels: int, sample_rate: int
) -> tuple[Array, Array]:
    """(vocals, mixture) of stems [C, T], each with its own gain and place between the loudspeakers."""
    share = rng.uniform()
    target = _stage(vocals, mix, rng, channels, sample_rate, wide=False)
    total = np.zeros_like(target)
    for stem in rest:
        total += _stage(stem, mix, rng, channels, sample_rate, wide=True)
    if share < mix.clean_share:
        total = np.zeros_like(total)
    elif share > 1 - mix.silent_share:
        target = np.zeros_like(target)
    if rms(target + total) < 1e-4:  # both pause: noise of its own keeps the mixture defined
        total = total + rng.normal(0, 1e-3, total.shape).astype(np.float32)
    level = 10 ** (rng.uniform(*mix.level_db) / 20) / rms(target + total)
    return (target * level).astype(np.float32), ((target + total) * level).astype(np.float32)


def _stage(stem: Array, mix: SongMix, rng: Rng, channels: int, sample_rate: int, *, wide: bool) -> Array:
    stem = stem * np.float32(10 ** (rng.uniform(*mix.gain_db) / 20))
    (own,) = rng.spawn(1)  # what is drawn from it changes nothing else
    if mix.equalise_db:
        stem = equalise(stem, own, sample_rate, range_db=mix.equalise_db)
    if channels == 1 or len(stem) > 1:
        audio = place(stem, 0, stem.shape[-1], channels)
        return np.ascontiguousarray(audio[::-1]) if channels == 2 and own.uniform() < mix.swap_share else audio
    moved = own.uniform() < mix.widen_share
    if wide:
        return widen(stem[0], own, sample_rate) if moved else place(stem, 0, stem.shape[-1], 2)
    audio = pan(stem[0], own.uniform(-0.6, 0.6) if moved else 0.0)
    return spread(audio, own, sample_rate) if own.uniform() < mix.spread_share else audio


_KINDS = ("songs_*_vocals", "songs_*_accompaniment", "vocals", "accompaniment", "music")


def _add_root(root: str, table: dict[str, Song], clips: list[Clip]) -> None:
    for item in find_items(expand(root), "train"):
        if not item.rest:
            raise DataError(f"{item.name!r} in {root} is a pair of clean and noisy, not a song; use type: pairs")
        song = table.setdefault(item.name, Song())
        if song.vocals is not None:
            raise DataError(f"the song {item.name!r} is in two of the roots; name one of them")
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
