"""Which sections of which songs make an example, drawn for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exdiff.data.bank import Bank, Pieces
from exdiff.data.draws import Choice, Draws, Groups, Part, between, gain, whole
from exdiff.data.mixing.playback import Playback, frames_needed
from exdiff.data.mixing.song_mix import SongMix, SongMixer, Stems

Array = np.ndarray
_HEARD = 1e-3  # RMS above which a section of vocals counts as singing
_TRIES = 8  # sections drawn to find one with singing
_QUIETEST = 1e-4  # level that a remix assumes of a clip, at least


@dataclass(frozen=True)
class Tables:
    """The songs of a data set, as numbers of clips; -1 where there is none. N is the largest number of stems."""

    vocals: Array  # [S], of each song that has them
    own: Array  # [S, N], the rest of the same songs
    choose_vocals: Choice
    rest: Array  # [P, N], of each song that has one
    role: Array  # [P, N], group in `of_role` to take a clip of; -1 for the song's own clip
    of_role: Groups
    choose_rest: Choice

    def others(self, song: Array, numbers: Array) -> Array:
        """Clips [B, N] for a remix with the rest of the given songs [B], from numbers [B, N] in [0, 1)."""
        role = self.role[song]
        return np.where(role >= 0, self.of_role(np.maximum(role, 0), numbers), self.rest[song])


class SongBatches:
    """Batches of songs, made on the device of a bank; without a state, so that several threads may use it.

    Args:
        tables: the songs.
        bank: their clips.
        mix: options.
        seed, channels, length, sample_rate: of the examples.
    """

    def __init__(
        self, tables: Tables, bank: Bank, mix: SongMix, *, seed: int, channels: int, length: int, sample_rate: int
    ) -> None:
        self._tables, self._bank, self._cache, self._mix = tables, bank, bank.cache, mix
        self._seed, self._length, self.device = seed, length, bank.device
        self._levels = np.maximum(bank.cache.levels, _QUIETEST)
        self._mixer = SongMixer(mix, channels=channels, length=length, sample_rate=sample_rate, device=bank.device)

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(vocals, mixture), both float32 [B, C, T] on the device."""
        tables, mix = self._tables, self._mix
        draws = Draws(self._seed, indices)
        song, other, own_speed, speed, remix, snr = draws.part(Part.EXAMPLE)[:, :6].T
        song, other = tables.choose_vocals(song), tables.choose_rest(other)
        own_speed, speed = between(own_speed, mix.speed), between(speed, mix.speed)
        slots = tables.own.shape[1]
        tries, picks, places = np.split(draws.part(Part.CROPS), [_TRIES, _TRIES + slots], axis=1)

        vocals, rest = tables.vocals[song, None], tables.own[song]
        offset = self._sung(vocals, self._offsets(vocals, own_speed, tries), own_speed)
        target = self._read(vocals, offset, np.ones(offset.shape), own_speed)

        mixed = (rest < 0).all(1, keepdims=True) | (remix < mix.remix)[:, None]
        rest = np.where(mixed, tables.others(other, picks[:, :slots]), rest)
        rest = rest[:, : 1 + np.flatnonzero((rest >= 0).any(0))[-1]]
        speed = np.where(mixed[:, 0], speed, own_speed)
        offsets = np.where(mixed, self._offsets(rest, speed, places[:, : rest.shape[1]]), offset)
        level = np.sqrt((np.where(rest >= 0, self._levels[rest], 0.0) ** 2).sum(1, keepdims=True))
        gains = np.where(mixed, self._levels[vocals] / level * gain(-between(snr[:, None], mix.snr_db)), 1.0)
        return self._mixer(draws, target, self._read(rest, offsets, np.broadcast_to(gains, rest.shape), speed))

    def _offsets(self, clips: Array, speed: Array, numbers: Array) -> Array:
        """First frames [B, N] of random sections of clips [B, N or 1]; negative is silence before a short clip."""
        spare = self._cache.lengths[clips] - self._wanted(speed)
        return np.sign(spare) * whole(numbers, np.abs(spare) + 1)

    def _wanted(self, speed: Array) -> Array:
        """Frames of a recording that fill an example [B, 1]."""
        return np.round(self._length * speed).astype(np.int64)[:, None]

    def _sung(self, clips: Array, offsets: Array, speed: Array) -> Array:
        """The first section [B, 1] of those drawn in which somebody sings; otherwise simply the first."""
        chosen = offsets[:, :1].copy()
        for row, (clip, want) in enumerate(zip(clips[:, 0].tolist(), self._wanted(speed)[:, 0].tolist(), strict=True)):
            for offset in offsets[row].tolist():
                if self._cache.loudness(clip, offset, want) > _HEARD:
                    chosen[row] = offset
                    break
        return chosen

    def _read(self, clips: Array, offsets: Array, gains: Array, speed: Array) -> Stems:
        """Sections of the clips [B, N], each row at its speed [B]."""
        varied = self._mix.speed != (1, 1)
        needed = frames_needed(self._length, self._mix.speed[1]) if varied else self._length
        begin, first, clip = np.maximum(-offsets, 0), np.maximum(offsets, 0), np.maximum(clips, 0)
        span = np.clip(np.minimum(self._cache.lengths[clip] - first, needed - begin), 0, None) * (clips >= 0)
        fields = {"first": first, "span": span, "begin": begin, "gain": gains}
        pieces = Pieces.single(clip.ravel(), **{name: field.ravel() for name, field in fields.items()})
        sound = self._bank.read(pieces, needed)
        if varied:
            play = Playback(speed, self._length, self.device)
            sound = play(sound.view(len(clips), -1, needed)).view(*sound.shape[:2], -1)
        return Stems(sound, self._cache.channels[clip.ravel()] == 2)
