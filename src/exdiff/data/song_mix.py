"""Mixing the stems of a song into an example: gains, positions in the stereo image, silence, and the level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exdiff.core.config import limited
from exdiff.data.augment import equalise, pan, rms, spread, widen
from exdiff.data.draws import check_ranges
from exdiff.data.pairs import place

Array = np.ndarray
Rng = np.random.Generator


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


def mix_song(
    vocals: Array, rest: Sequence[Array], mix: SongMix, rng: Rng, *, channels: int, sample_rate: int
) -> tuple[Array, Array]:
    """(vocals, mixture) of stems [C, T], each with a random gain and a random position in the stereo image."""
    share = rng.uniform()
    target = _stage(vocals, mix, rng, channels, sample_rate, wide=False)
    total = np.zeros_like(target)
    for stem in rest:
        total += _stage(stem, mix, rng, channels, sample_rate, wide=True)
    if share < mix.clean_share:
        total = np.zeros_like(total)
    elif share > 1 - mix.silent_share:
        target = np.zeros_like(target)
    if rms(target + total) < 1e-4:  # both pause: faint noise keeps the level defined
        total = total + rng.normal(0, 1e-3, total.shape).astype(np.float32)
    level = 10 ** (rng.uniform(*mix.level_db) / 20) / rms(target + total)
    return (target * level).astype(np.float32), ((target + total) * level).astype(np.float32)


def _stage(stem: Array, mix: SongMix, rng: Rng, channels: int, sample_rate: int, *, wide: bool) -> Array:
    stem = stem * np.float32(10 ** (rng.uniform(*mix.gain_db) / 20))
    (own,) = rng.spawn(1)  # draws from it do not shift those of other stems
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
