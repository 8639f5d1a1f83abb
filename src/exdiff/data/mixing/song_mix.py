"""Mixing the stems of a song into an example: gains, positions in the stereo image, silence, and the level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exdiff.core.config import limited
from exdiff.core.counters import normal
from exdiff.data.batched import put, send
from exdiff.data.draws import Draws, Part, Stream, between, check_ranges, gain
from exdiff.data.mixing.augment import Spectrum, convolve, delayed, on_rows, rms
from exdiff.data.mixing.faint import FaintNoise

Array = np.ndarray
_NUMBERS = 6  # random ones for each stem, and for its equaliser


@dataclass(frozen=True)
class SongMix:
    """Probabilities and ranges of the mixing."""

    remix: float = limited(0.5, least=0, most=1)  # share of examples with stems of several songs
    snr_db: tuple[float, float] = (-10.0, 6.0)  # vocals to rest in a remix, by the levels of the whole clips
    gain_db: tuple[float, float] = (-4.0, 4.0)  # of every stem
    speed: tuple[float, float] = limited((1.0, 1.0), above=0)  # of playback, so the pitch changes too; one a song
    swap_share: float = limited(0.5, least=0, most=1)  # of stereo stems whose channels are swapped
    widen_share: float = limited(0.7, least=0, most=1)  # of mono stems moved out of the middle of a stereo example
    # Of mono vocals in a stereo example: the share that gets doubling and reverberation, as part of the target.
    spread_share: float = limited(0.6, least=0, most=1)
    equalise_db: float = limited(0.0, least=0)  # range of a smooth random gain over frequency, for every stem
    clean_share: float = limited(0.02, least=0, most=1)  # of examples with vocals alone
    silent_share: float = limited(0.08, least=0, most=1)  # of examples without vocals; others have singing if found
    level_db: tuple[float, float] = (-32.0, -12.0)  # RMS of the mixture, dB re full scale

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Stems:
    """Stems of a batch, the same number of them for each example: [B * N, C, T], where C is 1 or 2."""

    sound: Tensor
    stereo: Array  # which have two channels of their own, bool [B * N]


class SongMixer:
    """Mixes stems on one device; without a state.

    Args:
        mix: options.
        channels: of an example, 1 or 2.
        length, sample_rate: of an example, in samples and Hz.
        device: of the stems.
    """

    def __init__(self, mix: SongMix, *, channels: int, length: int, sample_rate: int, device: torch.device) -> None:
        self._mix, self._channels, self._rate, self._device = mix, channels, sample_rate, device
        self._faint = FaintNoise(channels * length, device)
        self._spectrum = Spectrum(length, sample_rate, device)

    def __call__(self, draws: Draws, vocals: Stems, rest: Stems) -> tuple[Tensor, Tensor]:
        """(vocals, mixture), both [B, C, T]: stems with random gains, and random positions in the stereo image."""
        mix, count = self._mix, len(vocals.sound)
        numbers = draws.part(Part.RECORDING)
        share, level = numbers[:, :1], put(gain(between(numbers[:, 1:2], mix.level_db))[..., None], self._device)
        target = self._vocals(draws, vocals)
        total = self._rest(draws, rest).view(count, -1, *target.shape[1:]).sum(1)
        clean = share < mix.clean_share
        total = total * put(1.0 * ~clean[..., None], self._device)
        target = target * put(1.0 * (clean | (share <= 1 - mix.silent_share))[..., None], self._device)
        mixture = self._faint.fill((target + total).flatten(1), draws).view_as(target)  # so that the level is defined
        level = level / rms(mixture.flatten(1))[..., None]
        return target * level, mixture * level

    def _vocals(self, draws: Draws, stems: Stems) -> Tensor:
        numbers = draws.part(Part.STEMS)[:, :_NUMBERS]
        sound = self._equalised(stems, numbers, draws.part(Part.EQUALISER)[:, :6])
        if self._channels == 1:
            return sound
        mono = ~stems.stereo
        moved = between(numbers[:, 3], (-0.6, 0.6)) * (numbers[:, 2] < self._mix.widen_share)
        angle = (np.where(mono, moved, 0.0) + 1) * (math.pi / 4)  # constant power; in the middle both gains are 1
        sides = np.where(mono[:, None], math.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1), 1.0)
        sound = sound * put(sides[..., None], self._device)
        rows = np.flatnonzero(mono & (numbers[:, 5] < self._mix.spread_share))
        return on_rows(sound, rows, lambda x: self._spread(x, draws.of(rows)))

    def _rest(self, draws: Draws, stems: Stems) -> Tensor:
        last = _NUMBERS * (1 + len(stems.stereo) // len(draws))
        numbers = draws.part(Part.STEMS)[:, _NUMBERS:last].reshape(-1, _NUMBERS)
        curves = draws.part(Part.EQUALISER)[:, _NUMBERS:last].reshape(-1, _NUMBERS)
        sound = self._equalised(stems, numbers, curves)
        if self._channels == 1:
            return sound
        rows = np.flatnonzero(~stems.stereo & (numbers[:, 2] < self._mix.widen_share))
        delay = put((between(numbers[rows, 3:4], (0.005, 0.025)) * self._rate).astype(np.int64), self._device)
        share = put(between(numbers[rows, 4:5], (0.3, 0.8)), self._device)

        def wide(x: Tensor) -> Tensor:
            """A delayed copy is added left and subtracted right, so that the mean stays."""
            side = delayed(x[:, 0], delay) * share
            return torch.stack([x[:, 0] + side, x[:, 0] - side], 1)

        return on_rows(sound, rows, wide)

    def _equalised(self, stems: Stems, numbers: Array, curves: Array) -> Tensor:
        """Stems with their gains and equalisers, of the right number of channels, some of them swapped."""
        mix, sound = self._mix, stems.sound
        sound = sound * put(gain(between(numbers[:, 0], mix.gain_db))[:, None, None], self._device)
        if mix.equalise_db:
            points = put(between(curves, (-mix.equalise_db, mix.equalise_db)), self._device)
            sound = self._spectrum.filter(sound, self._spectrum.equaliser(points)[:, None])
        if self._channels == 1:
            return sound.mean(1, keepdim=True)
        swapped = np.flatnonzero(stems.stereo & (numbers[:, 1] < mix.swap_share))
        return on_rows(sound.expand(-1, 2, -1), swapped, lambda x: x.flip(1))

    def _spread(self, x: Tensor, draws: Draws) -> Tensor:
        """Stereo made wide as producers do with a voice: each channel gets its own short delay and reverberation."""
        numbers, device = draws.part(Part.ROOM), self._device
        size = int(1.5 * self._rate)
        seconds = between(numbers[:, 0, None, None], (0.3, 1.5))  # T60
        level = gain(between(numbers[:, 1, None, None], (-24.0, -6.0)))
        time = torch.arange(size, device=device) / self._rate
        noise = normal(send(draws.keys(Stream.TAIL), device), 2 * size).view(-1, 2, size)
        kernels = noise * torch.exp(time * put(-6.9 / seconds, device)) * (time < put(seconds, device))
        kernels = kernels * (put(level, device) / kernels.norm(dim=-1, keepdim=True))
        kernels[..., 0] += 1
        place = (between(numbers[:, 2:4, None], (0.008, 0.03)) * self._rate).astype(np.int64)
        kernels = kernels.scatter_add(2, put(place, device), put(0.9 * numbers[:, 4:6, None], device))
        return convolve(x, kernels)
