"""What speech is mixed with: noise, music, both, the babble of other speakers, and noise that is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from exdiff.core.counters import normal
from exdiff.data.bank import Bank, Pieces
from exdiff.data.batched import put, send
from exdiff.data.cache import ClipCache
from exdiff.data.draws import Draws, Part, Stream, between, choice, gain, whole
from exdiff.data.mixing.augment import Spectrum, convolve, on_rows, rms
from exdiff.data.mixing.faint import FaintNoise
from exdiff.data.mixing.mix import EQUALISER_DB, Mix
from exdiff.data.mixing.rooms import Rooms
from exdiff.data.mixing.voices import Voices

Array = np.ndarray
KINDS = ("noise", "music", "noise_and_music", "babble", "made_noise")  # fields of `Mix`
_BALANCE_DB = (-6.0, 6.0)  # of music to noise, where there are both
_VOICE_DB = (-3.0, 3.0)  # of each voice in babble
_HARMONICS = np.arange(1, 13)  # of mains hum


class Crops:
    """Random sections of recordings, drawn in proportion to their length; a short recording is repeated."""

    def __init__(self, cache: ClipCache, clips: Sequence[int], length: int, kind: str) -> None:
        self._cache, self._clips, self._length = cache, np.array(clips, np.int64), length
        self._choose = choice(cache.lengths[self._clips], f"the clips of kind {kind!r} hold no samples")

    def __call__(self, numbers: Array) -> Pieces:
        """One section for each row of numbers [R, 2]."""
        clip = self._clips[self._choose(numbers[:, 0])]
        have = self._cache.lengths[clip]
        first = whole(numbers[:, 1], np.where(have > self._length, have - self._length + 1, have))
        return Pieces.single(clip, first=first, span=np.full_like(clip, self._length))


class Interference:
    """Makes the interference of every example of a batch.

    Args:
        mix: options.
        voices, crops: what there is; crops by kind, of noise and music.
        bank, spectrum, rooms: on the device where it is made.
        length, sample_rate: of an example, in samples and Hz.
    """

    def __init__(
        self,
        mix: Mix,
        voices: Voices,
        crops: Mapping[str, Crops],
        bank: Bank,
        spectrum: Spectrum,
        rooms: Rooms,
        *,
        length: int,
        sample_rate: int,
    ) -> None:
        self._mix, self._voices, self._crops = mix, voices, crops
        self._bank, self._spectrum, self._rooms = bank, spectrum, rooms
        self._faint = FaintNoise(length, bank.device)
        self._length, self._rate, self._device = length, sample_rate, bank.device

    def __call__(self, draws: Draws, kind: Array, target: Array) -> Tensor:
        """[B, T] of some level.

        Args:
            draws: of the batch.
            kind: place in KINDS of each example [B]; -1 is silence.
            target: clip of each example, whose speaker does not babble.
        """
        noise, music, both, babble, made = (kind == place for place in range(len(KINDS)))
        numbers = draws.part(Part.CROPS)
        parts = []
        if len(rows := np.flatnonzero(noise | both)):
            parts.append((rows, self._section("noise", numbers[rows, :2], draws.of(rows))))
        if len(rows := np.flatnonzero(music | both)):
            balance = put(gain(between(numbers[rows, 4:5], _BALANCE_DB)), self._device)
            parts.append((rows, self._section("music", numbers[rows, 2:4], draws.of(rows)) * balance))
        if len(rows := np.flatnonzero(babble)):
            parts.append((rows, self._babble(draws.of(rows), target[rows])))
        if len(rows := np.flatnonzero(made)):
            parts.append((rows, self._made(draws.of(rows))))
        rest = torch.zeros(len(kind), self._length, device=self._device)
        for rows, sound in parts:
            rest.index_add_(0, put(rows, self._device), sound)
        return self._equalised(draws, rest, (kind >= 0) & ~babble)

    def _section(self, kind: str, numbers: Array, draws: Draws) -> Tensor:
        sound = self._bank.read(self._crops[kind](numbers), self._length)[:, 0]
        sound = self._faint.fill(sound, draws)  # so that the SNR is defined
        return sound / rms(sound)

    def _babble(self, draws: Draws, target: Array) -> Tensor:
        low, high = self._mix.babble_speakers
        others = len(self._voices.clips) - 1
        most, width = min(high, others), 3 + self._voices.numbers_needed(self._length)
        numbers = draws.table(Stream.BABBLE, 2 + most * width)
        count = np.minimum(low + whole(numbers[:, 0], high - low + 1), others)
        voices = numbers[:, 2:].reshape(len(target), most, width)[:, : count.max()]  # [R, N, width]
        heard = np.arange(voices.shape[1]) < count[:, None]
        clips = self._voices.clips(self._voices.others(target, voices[..., 0]), voices[..., 1])
        pieces = self._voices.strings(clips.ravel(), voices[..., 3:].reshape(clips.size, -1), self._length)
        sound = self._bank.read(pieces.only(heard.ravel()), self._length).view(*clips.shape, -1)
        sound = (sound * put(gain(between(voices[..., 2:3], _VOICE_DB)), self._device)).sum(1)
        rows = np.flatnonzero(numbers[:, 1] < self._mix.babble_room_share)
        rows = rows[self._rooms.available(draws.of(rows))]
        return on_rows(sound, rows, lambda dry: convolve(dry, self._rooms.responses(draws.of(rows))[:, None])[:, 0])

    def _made(self, draws: Draws) -> Tensor:
        """Coloured noise with mains hum."""
        numbers = draws.part(Part.NOISE)
        slope, mains, pitch, level, hums, decay = (column[:, None] for column in numbers[:, :6].T)
        noise = normal(send(draws.keys(Stream.SAMPLES), self._device), self._length)
        noise = self._spectrum.filter(noise, self._spectrum.colour(put(between(slope, (0.0, 1.2)), self._device)))
        frequency = np.where(mains < 0.5, 50, 60) * between(pitch, (0.99, 1.01)) * _HARMONICS
        heights, phases = np.split(numbers[:, 6 : 6 + 2 * len(_HARMONICS)], 2, axis=1)
        heights = heights * _HARMONICS ** -between(decay, (0.2, 1.5))
        time = torch.arange(self._length, device=self._device) / self._rate
        cycles = put(frequency[..., None], self._device) * time + put(phases[..., None], self._device)
        hum = (put(heights[..., None], self._device) * torch.sin(2 * math.pi * cycles)).sum(1)
        level = gain(between(level, (-20.0, 10.0))) * (hums < 0.4)
        return noise / rms(noise) + hum / rms(hum) * put(level, self._device)

    def _equalised(self, draws: Draws, rest: Tensor, possible: Array) -> Tensor:
        numbers = draws.part(Part.EQUALISER)
        rows = np.flatnonzero(possible & (numbers[:, 0] < self._mix.equalise_share))
        if not len(rows):
            return rest
        gains = self._spectrum.equaliser(put(between(numbers[rows, 1:7], EQUALISER_DB), self._device))
        return on_rows(rest, rows, lambda x: self._spectrum.filter(x, gains))
