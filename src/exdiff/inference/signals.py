"""Which signals in a group of windows are worth computing, and where their results belong.

Digital silence stays silent, and equal channels (a mono recording in a stereo file) are computed once, which also
keeps them equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Signal(NamedTuple):
    """One or two channels of a window.

    Attributes:
        row: where the window lies in the group.
        window: its number in the recording.
        channels: by number; the first one seeds the noise.
        peak: largest magnitude.
    """

    row: int
    window: int
    channels: tuple[int, ...]
    peak: float

    def generator(self, seed: int) -> torch.Generator:
        """Independent streams for neighbouring seeds, windows and channels; on the CPU, so that every device agrees."""
        state = np.random.SeedSequence([seed, self.window, self.channels[0]]).generate_state(2, np.uint32)
        return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


# Of each channel of each row: the signal that holds its result, and the row there; None for silence.
Places = list[list[tuple[int, int] | None]]


def distinct_signals(rows: Tensor, windows: Sequence[int], together: int) -> tuple[list[Signal], Places]:
    """The signals in `rows` [R, C, n] that are worth computing, and the place of each channel's result.

    Args:
        rows: one window of one item of a batch each.
        windows: their numbers in the recording.
        together: channels per signal, 1 or 2. Neighbours make pairs; the last of an odd number is mono.

    Example:
        >>> left, right = torch.ones(2), torch.tensor([0.5, -0.5])
        >>> signals, places = distinct_signals(torch.stack([left, right, left, 0 * left])[None], [7], 1)
        >>> [s.channels for s in signals], places
        ([(0,), (1,)], [[(0, 0), (1, 0), (0, 0), None]])
    """
    peaks = rows.abs().amax(-1).tolist()
    signals: list[Signal] = []
    places: Places = []
    for row, (window, twins) in enumerate(zip(windows, _twins(rows), strict=True)):
        known: dict[tuple[int, ...], int] = {}
        found: list[tuple[int, int] | None] = []
        for start in range(0, len(twins), together):
            pair = twins[start : start + together]
            channels = tuple(dict.fromkeys(pair))
            peak = max(peaks[row][c] for c in channels)
            if peak == 0:
                found += [None] * len(pair)
                continue
            if channels not in known:
                known[channels] = len(signals)
                signals.append(Signal(row, window, channels, peak))
            found += [(known[channels], channels.index(c)) if peaks[row][c] else None for c in pair]
        places.append(found)
    return signals, places


def gather(rows: Tensor, signals: Sequence[Signal], channels: int) -> Tensor:
    """The signals as one batch [len(signals), channels, n]; mono is repeated."""
    return torch.stack([torch.stack([rows[s.row, c] for c in s.channels]).expand(channels, -1) for s in signals])


def scatter(results: Sequence[Tensor], places: Places, like: Tensor) -> Tensor:
    """Results [1 or 2, n] of all signals, put where they belong in a tensor like `like`; the rest is silence."""
    out = torch.zeros_like(like)
    for row, found in enumerate(places):
        for channel, place in enumerate(found):
            if place is not None:
                out[row, channel] = results[place[0]][place[1]]
    return out


def _twins(rows: Tensor) -> list[list[int]]:
    """Of each channel of each row, the first channel that is equal to it."""
    count = rows.shape[1]
    first = torch.zeros(len(rows), count, dtype=torch.long, device=rows.device)
    for channel in range(1, count):  # one at a time: all pairs at once would take too much memory
        equal = (rows[:, : channel + 1] == rows[:, channel : channel + 1]).all(-1)
        first[:, channel] = equal.int().argmax(1)
    return first.tolist()
