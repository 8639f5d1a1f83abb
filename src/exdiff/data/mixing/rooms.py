"""Rooms: measured impulse responses, and made ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from exdiff.core.counters import normal
from exdiff.data.batched import put, send
from exdiff.data.cache import ClipCache
from exdiff.data.draws import Draws, Part, Stream, between, gain, whole

Array = np.ndarray
_REFLECTIONS = 7  # at most
_SECONDS = 1.0  # of a made response
_BLOCK = 4096  # samples; lengths are multiples of it, since an FFT is planned for each length


class Rooms:
    """The impulse response of each example's room, with its direct sound at time zero.

    Args:
        cache, clips: measured responses; there may be none.
        made_share: of the rooms that are made.
        sample_rate: Hz.
        device: where responses are wanted.
    """

    def __init__(
        self, cache: ClipCache, clips: Sequence[int], made_share: float, sample_rate: int, device: torch.device
    ) -> None:
        self._cache, self._clips, self._made_share = cache, np.array(clips, np.int64), made_share
        self._rate, self._device = sample_rate, device
        self._length = round(_SECONDS * sample_rate)  # of a made response

    def available(self, draws: Draws) -> Array:
        """Which examples can have a room, bool [B]: without measured responses only those whose room is made."""
        made = draws.part(Part.ROOM)[:, 0] < self._made_share
        return made | (len(self._clips) > 0)

    def responses(self, draws: Draws) -> Tensor:
        """Impulse responses [B, N] of examples that can have a room; N varies."""
        numbers = draws.part(Part.ROOM)
        made = numbers[:, 0] < self._made_share
        rows_made, rows_measured = np.flatnonzero(made), np.flatnonzero(~made)
        chosen = self._clips[whole(numbers[rows_measured, 1], len(self._clips))]
        measured = [self._measured(clip) for clip in chosen.tolist()]
        size = max([len(response) for response in measured] + [self._length] * (len(rows_made) > 0))
        size += -size % _BLOCK
        table = np.zeros((len(numbers), size), np.float32)
        for row, response in zip(rows_measured.tolist(), measured, strict=True):
            table[row, : len(response)] = response
        out = put(table, self._device)
        if len(rows_made):
            responses = self._made(numbers[rows_made, 2:], draws.of(rows_made).keys(Stream.TAIL))
            responses = functional.pad(responses, (0, size - self._length))
            out = out.index_copy(0, put(rows_made, self._device), responses)
        return out

    def _measured(self, clip: int) -> Array:
        response = self._cache.read(clip)
        response = response[int(np.argmax(np.abs(response))) :]
        return response / max(float(np.abs(response[0])), 1e-6)

    def _made(self, numbers: Array, key: Tensor) -> Tensor:
        """Exponential decay that gets darker with time, after sparse early reflections."""
        seconds, dark, delay, level, count = (column[:, None] for column in numbers[:, :5].T)
        times, heights = np.split(numbers[:, 5 : 5 + 2 * _REFLECTIONS], 2, axis=1)
        device = self._device
        time = torch.arange(self._length, device=device) / self._rate - put(between(delay, (0.002, 0.02)), device)
        low_seconds = between(seconds, (0.12, 0.9))  # to -60 dB
        high_seconds = low_seconds * between(dark, (0.25, 1.0))
        noise = normal(send(key, device), self._length + 1)
        low = (noise[:, 1:] + noise[:, :-1]) * torch.exp(time * put(-6.9 / low_seconds, device))
        high = (noise[:, 1:] - noise[:, :-1]) * torch.exp(time * put(-6.9 / high_seconds, device))
        tail = (low + high) * (time >= 0)
        tail = tail / tail.norm(dim=-1, keepdim=True) * put(gain(between(level, (-12, 3))), device)
        heard = np.arange(_REFLECTIONS) < 2 + whole(count, _REFLECTIONS - 1)
        places = 1 + (between(times, (0.001, 0.04)) * self._rate).astype(np.int64)
        tail = tail.scatter_add(1, put(places, device), put(between(heights, (-0.5, 0.5)) * heard, device))
        tail[:, 0] = 1.0
        return tail
