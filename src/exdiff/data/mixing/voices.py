"""Who speaks: strings of clips of one speaker, one after another with pauses between, and babble of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exdiff.data.bank import Pieces
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.data.draws import Groups, between, whole

Array = np.ndarray
_SPEECH_RMS = 0.05  # of every clip in a string of clips, so that none is masked by its neighbours
_PAUSE = (0.1, 0.6)  # seconds


class Voices:
    """The speakers of a set of clips; a clip without a speaker belongs to its source.

    Args:
        clips, cache: all recordings, in the same order.
        speech: the numbers of those with speech.
        sample_rate: Hz.
    """

    def __init__(self, clips: Sequence[Clip], cache: ClipCache, speech: Sequence[int], sample_rate: int) -> None:
        self._cache, self._rate = cache, sample_rate
        lists: dict[str, list[int]] = {}
        for clip in speech:
            lists.setdefault(clips[clip].speaker or clips[clip].source, []).append(clip)
        self.clips = Groups(list(lists.values()))  # of each speaker
        self._speaker = np.zeros(len(clips), np.int64)
        for speaker, members in enumerate(lists.values()):
            self._speaker[members] = speaker

    def numbers_needed(self, length: int) -> int:
        """Random numbers for one string of `length` frames: pauses bound how many clips there can be."""
        return 1 + 2 * (int(length / (_PAUSE[0] * self._rate)) + 2)

    def strings(self, clip: Array, numbers: Array, length: int) -> Pieces:
        """Strings that begin within the given clips [R], until `length` frames are full; numbers [R, needed]."""
        lengths, speaker = self._cache.lengths, self._speaker[clip]
        position = -whole(numbers[:, 0], np.maximum(1, lengths[clip] // 2))
        columns: list[tuple[Array, ...]] = []
        while not columns or (position < length).any():
            number, have = 1 + 2 * len(columns), lengths[clip]
            begin, first = np.maximum(position, 0), np.maximum(-position, 0)
            span = np.maximum(np.minimum(length - begin, have - first), 0)
            # The level of the whole clip, so that a quiet end stays quiet.
            columns.append((clip, begin, first, span, _SPEECH_RMS / self._cache.levels[clip]))
            position = position + have + (between(numbers[:, number], _PAUSE) * self._rate).astype(np.int64)
            clip = self.clips(speaker, numbers[:, number + 1])
        return Pieces(*(np.array(column).T for column in zip(*columns, strict=True)))

    def others(self, clip: Array, numbers: Array) -> Array:
        """Different speakers [R, N] for numbers [R, N], none of them that of the clip [R]."""
        taken = self._speaker[clip][:, None]  # in ascending order
        chosen = []
        for column in numbers.T:
            place = whole(column, len(self.clips) - taken.shape[1])  # among those that are left
            for other in taken.T:
                place = place + (place >= other)
            chosen.append(place)
            taken = np.sort(np.concatenate([taken, place[:, None]], axis=1), axis=1)
        return np.stack(chosen, axis=1)
