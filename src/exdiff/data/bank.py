"""Sections of recordings for a whole batch, from the memory-mapped file of decoded clips or from a copy on the device.

Where all clips fit into a share of the device's memory, they are copied there once, 2 bytes a sample, and a batch is
gathered by the device itself. Otherwise the host reads what a batch needs and sends it. Both give the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from exdiff.data.batched import put
from exdiff.data.cache import ClipCache

Array = np.ndarray
_SHARE = 0.25  # of the free memory of a CUDA device that the clips may take
_CHUNK = 1 << 26  # samples that are copied at once


@dataclass(frozen=True)
class Pieces:
    """What to read: a row of K pieces for each of R signals, all arrays [R, K].

    Pieces of a row follow each other, and there is silence where there is none.
    """

    clip: Array  # number in the cache
    begin: Array  # frame of the signal where the piece begins
    first: Array  # frame of the clip that is heard there; after its last frame a clip begins again
    span: Array  # frames; 0 if there is no piece
    gain: Array

    @classmethod
    def single(
        cls, clip: Array, *, first: Array, span: Array, begin: Array | int = 0, gain: Array | float = 1.0
    ) -> Pieces:
        """One piece for each signal, from arrays [R]."""
        fields = (np.broadcast_to(field, clip.shape)[:, None] for field in (clip, begin, first, span, gain))
        return cls(*fields)

    def only(self, rows: Array) -> Pieces:
        """The same, with silence in the rows that are False."""
        return replace(self, span=self.span * rows[:, None])


class MappedBank:
    """Reads from the memory map on the host, and sends what was read to the device."""

    def __init__(self, cache: ClipCache, device: torch.device) -> None:
        self.cache, self.device = cache, device

    def read(self, pieces: Pieces, length: int) -> Tensor:
        """Signals of `length` frames, float32 [R, C, length]; C is that of the clip with most channels."""
        out = torch.zeros(
            len(pieces.clip), _channels(self.cache, pieces), length, pin_memory=self.device.type == "cuda"
        )
        signals = out.numpy()
        rows, columns = np.nonzero(pieces.span)
        chosen = (column[rows, columns].tolist() for column in (pieces.clip, pieces.begin, pieces.first, pieces.span))
        scales = _scales(self.cache, pieces)[rows, columns]
        for row, scale, clip, begin, first, span in zip(rows.tolist(), scales, *chosen, strict=True):
            np.multiply(self._frames(clip, first, span).T, scale, out=signals[row, :, begin : begin + span])
        return out.to(self.device, non_blocking=True)

    def _frames(self, clip: int, first: int, span: int) -> Array:
        """As they are stored, int16 [span, channels]."""
        if first + span <= self.cache.lengths[clip]:
            return self.cache.stored(clip, first, first + span)
        whole = np.roll(self.cache.stored(clip), -first, axis=0)
        return np.resize(whole, (span, whole.shape[1]))


class DeviceBank:
    """Holds all clips on the device, and gathers there."""

    def __init__(self, cache: ClipCache, device: torch.device) -> None:
        self.cache, self.device = cache, device
        self._samples = torch.empty(len(cache.samples), dtype=torch.int16, device=device)
        for start in range(0, len(cache.samples), _CHUNK):
            part = torch.from_numpy(np.array(cache.samples[start : start + _CHUNK]))
            self._samples[start : start + _CHUNK] = part.to(device)

    def read(self, pieces: Pieces, length: int) -> Tensor:
        """Signals of `length` frames, float32 [R, C, length]; C is that of the clip with most channels."""
        cache = self.cache
        starts, lengths, channels = (column[pieces.clip] for column in (cache.starts, cache.lengths, cache.channels))
        columns = np.array([pieces.begin, pieces.first, pieces.span, starts, lengths, channels], order="C")
        table, scale = put(columns, self.device), put(_scales(cache, pieces), self.device)
        time = torch.arange(length, device=self.device).expand(len(pieces.clip), -1)
        if pieces.clip.shape[1] > 1:  # which piece each frame belongs to: the last that has begun
            piece = (torch.searchsorted(table[0], time.contiguous(), right=True) - 1).clamp(min=0)
            table, scale = table.gather(2, piece.expand(len(table), -1, -1)), scale.gather(1, piece)
        begin, first, span, start, period, channels = table
        place = time - begin
        scale = scale * ((place >= 0) & (place < span))
        where = start + torch.remainder(first + place, period) * channels
        if _channels(cache, pieces) == 1:
            return (self._samples[where] * scale)[:, None]
        sides = torch.stack([where, where + channels - 1], 1)  # a mono clip fills both channels
        return self._samples[sides] * scale[:, None]


Bank = MappedBank | DeviceBank


def open_bank(cache: ClipCache, device: torch.device, bank_gb: float | None = None) -> Bank:
    """The bank that suits the size of the cache.

    Args:
        cache: of decoded clips.
        device: where signals are wanted.
        bank_gb: gigabytes of the device's memory that clips may take; by default a quarter of what is free on a CUDA
            device, and none elsewhere, since the host's memory map costs no memory.
    """
    if bank_gb is None:
        bank_gb = _SHARE * torch.cuda.mem_get_info(device)[0] / 1e9 if device.type == "cuda" else 0.0
    return (DeviceBank if cache.samples.nbytes <= bank_gb * 1e9 else MappedBank)(cache, device)


def _channels(cache: ClipCache, pieces: Pieces) -> int:
    return int(cache.channels[pieces.clip].max())


def _scales(cache: ClipCache, pieces: Pieces) -> Array:
    """Factors that make signals of the stored samples: float32, so that both banks round alike."""
    return (pieces.gain * cache.gains[pieces.clip] / 32768).astype(np.float32)
