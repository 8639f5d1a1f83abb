"""Training pairs from paired folders such as VoiceBank-DEMAND: random crops, and nothing else changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from exdiff.core.errors import DataError
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip, expand_path
from exdiff.data.layouts import Item, find_items

Array = np.ndarray


class Pairs:
    """A data set of endless examples; `pairs[i]` -> (clean, mixture) float32, [T] or, in stereo, [2, T].

    Every pair comes once before any comes again, in a new order each time. Files shorter than an example are placed
    at random in silence.

    Args:
        roots: one or several folders with `clean/` and `noisy/`, or of VoiceBank-DEMAND, whose test set is not used;
            `$VARIABLES` are expanded.
        segment_seconds, sample_rate: length of an example, and its rate in Hz; other files are resampled.
        seed: another seed gives other examples.
        channels: 1 or 2; a mono file fills both channels of a stereo example.
        cache: folder for decoded copies.

    Raises:
        DataError: an unset variable, no pairs, or a pair whose files differ in length.
    """

    def __init__(
        self,
        *,
        segment_seconds: float,
        sample_rate: int,
        seed: int = 0,
        roots: str | Sequence[str],
        channels: int = 1,
        cache: str = "${EXDIFF_CACHE}",
    ) -> None:
        self.length, self.seed, self.channels = round(segment_seconds * sample_rate), seed, channels
        places = [roots] if isinstance(roots, str) else roots
        self.items = [item for root in places for item in find_items(expand_path(root), "train")]
        if songs := [item.name for item in self.items if item.rest]:
            raise DataError(f"{songs[0]!r} is a song, not a pair of clean and noisy; use data: {{type: songs}}")
        clips = [clip for item in self.items for clip in _clips(item)]
        self.cache = ClipCache(clips, expand_path(cache), sample_rate, channels)
        lengths = self.cache.lengths.reshape(-1, 2)
        for bad in np.flatnonzero(lengths[:, 0] != lengths[:, 1])[:1]:
            raise DataError(
                f"{self.items[bad].name!r}: clean has {lengths[bad, 0]} samples at {sample_rate} Hz, noisy "
                f"{lengths[bad, 1]}; `exdiff data check` finds all such pairs"
            )

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        item = shuffled(len(self.items), self.seed, index)
        start, shift = crop(int(self.cache.lengths[2 * item]), self.length, rng)
        clean, mixture = (self.cache.read(2 * item + part, start, self.length) for part in (0, 1))
        return place(clean, shift, self.length, self.channels), place(mixture, shift, self.length, self.channels)


def shuffled(count: int, seed: int, index: int) -> int:
    """Element `index` of an endless sequence of random permutations of range(count)."""
    return int(_order(count, seed, index // count)[index % count])


def crop(have: int, want: int, rng: np.random.Generator) -> tuple[int, int]:
    """(start, shift) of a random crop: its first frame, or how much silence precedes a signal that is too short."""
    spare = have - want
    drawn = int(rng.integers(0, abs(spare) + 1))
    return (drawn, 0) if spare >= 0 else (0, drawn)


def place(audio: Array, shift: int, length: int, channels: int) -> Array:
    """`audio` ([T] or [C, T]) at `shift` in silence of `length` frames: [T] if `channels` is 1, else [channels, T]."""
    if channels == 1:
        out = np.zeros(length, np.float32)
        mono = audio if audio.ndim == 1 else audio.mean(axis=0)
    else:
        out = np.zeros((channels, length), np.float32)
        mono = audio if len(audio) == channels else audio.mean(axis=0, keepdims=True)
    stop = min(length, shift + mono.shape[-1])
    out[..., shift:stop] = mono[..., : stop - shift]
    return out


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> Array:
    return np.random.default_rng((seed, epoch, count)).permutation(count)


def _clips(item: Item) -> tuple[Clip, Clip]:
    assert item.mixture is not None  # an item without a rest has one
    return Clip(item.target.path, "speech"), Clip(item.mixture.path, "mixture")
