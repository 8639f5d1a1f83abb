"""Training examples for vocals: songs as they are, or remixed from stems of several, in mono or stereo.

A song consists of vocals and a rest: one accompaniment, or drums, bass and other. Recordings of vocals alone and of
music alone may be added; they only occur in remixes. The mixture is always the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from exdiff.audio import resample
from exdiff.core.config import from_table
from exdiff.core.errors import DataError
from exdiff.data.augment import rms
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip, expand_path, read_folder, read_manifest
from exdiff.data.draws import WeightedChoice, pick
from exdiff.data.layouts import RESTS, find_items
from exdiff.data.pairs import crop
from exdiff.data.song_mix import SongMix, mix_song

Array = np.ndarray
Rng = np.random.Generator
_HEARD = 1e-3  # RMS above which a crop of vocals counts as singing
_TRIES = 8  # crops drawn to find one with singing


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
        factors = [self.source_weights.get(clips[i].source, 1.0) for i in singing]
        self._choose_singing = self._choice(singing, factors)
        playing = [next(iter(s.rest.values())) for s in self.playing]
        self._choose_playing = self._choice(playing, [1.0] * len(playing))

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        song = self.singing[self._choose_singing(rng)]
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
        """Frames of a recording that fill an example at a random speed."""
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
        """Stems of other songs, at a random SNR to the level of the vocals."""
        song = self.playing[self._choose_playing(rng)]
        clips = [pick(rng, self._of_role[role]) if role in RESTS else clip for role, clip in song.rest.items()]
        level = float(np.sqrt(sum(self._level(clip) ** 2 for clip in clips)))
        gain = self._level(vocals) / level * 10 ** (-rng.uniform(*self.mix.snr_db) / 20)
        span = self._span(rng)
        return [gain * self._read(c, crop(int(self.cache.lengths[c]), span, rng), span) for c in clips]

    def _read(self, clip: int, start: tuple[int, int], span: int) -> Array:
        """`span` frames, resampled to the length of the example: [C, T] with the clip's own channels."""
        audio = np.atleast_2d(self.cache.read(clip, start[0], span))
        out = np.zeros((len(audio), span), np.float32)
        stop = min(span, start[1] + audio.shape[-1])
        out[:, start[1] : stop] = audio[:, : stop - start[1]]
        return resample(out, span, self.length)

    def _level(self, clip: int) -> float:
        return max(float(self.cache.levels[clip]), 1e-4)

    def _choice(self, clips: Sequence[int], factors: Sequence[float]) -> WeightedChoice:
        """Clips in proportion to their lengths times the factors."""
        try:
            return WeightedChoice(self.cache.lengths[list(clips)] * np.asarray(factors, np.float64))
        except ValueError as error:
            raise DataError(f"source_weights leave no vocals to draw ({error})") from None


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
