"""Cut a stream into overlapping windows on an absolute grid, and overlap-add them again: arithmetic only.

Window i covers samples [i * hop, i * hop + length). Two neighbours share length - hop samples of context; the seam
lies in the middle of these, and there the left one fades out while the right one fades in. Where a window lies
depends on the signal's own clock and not on how it arrives, so a stream in any chunks gives the windows of the
whole signal. Signals are [..., T], on any device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from exdiff.core.errors import ConfigError


@dataclass(frozen=True)
class Grid:
    """Where windows lie, in samples.

    Attributes:
        length: of a window.
        hop: from one start to the next.
        fade: of the cross-fade at each seam, at most the overlap and at most the hop.

    Example:
        >>> grid = Grid.of_seconds(10.0, 2.0, 0.1, sample_rate=8000)
        >>> grid.count(80000), grid.count(80001), grid.span(1, 100000)
        (1, 2, (64000, 100000))
    """

    length: int
    hop: int
    fade: int

    def __post_init__(self) -> None:
        if not (0 < self.hop <= self.length and 0 <= self.fade <= min(self.hop, self.length - self.hop)):
            raise ConfigError(
                f"windows of {self.length} samples with a hop of {self.hop} and a fade of {self.fade} do not fit; "
                "the overlap must be at least the fade, and less than the segment by at least the fade"
            )

    @classmethod
    def of_seconds(cls, segment: float, overlap: float, fade: float, sample_rate: int) -> Grid:
        """The grid at one rate; whole seconds give the same instants at every rate."""
        return cls(round(segment * sample_rate), round((segment - overlap) * sample_rate), round(fade * sample_rate))

    def aligned(self, unit: Fraction) -> Grid:
        """The grid with a hop that is a multiple of `unit` samples, shortened to it; a hop below `unit` stays.

        Example:
            >>> Grid(100, 80, 4).aligned(Fraction(30)), Grid(100, 80, 4).aligned(Fraction(25, 2))
            (Grid(length=100, hop=60, fade=4), Grid(length=100, hop=75, fade=4))
            >>> Grid(100, 80, 4).aligned(Fraction(90))
            Grid(length=100, hop=80, fade=4)
        """
        whole = unit.numerator  # the least multiple of the unit that is a number of samples
        if whole <= self.hop:
            return replace(self, hop=self.hop - self.hop % whole)
        # Rates that share little with the model's: the first windows lie within a sample of the model's frames.
        return replace(self, hop=int(self.hop // unit * unit) or self.hop)

    def count(self, total: int) -> int:
        """Number of windows in a signal of `total` samples."""
        if total <= 0:
            return 0
        return 1 + max(0, -(-(total - self.length) // self.hop))

    def span(self, index: int, total: int) -> tuple[int, int]:
        """First sample of window `index` and the one after its last."""
        start = index * self.hop
        return start, min(start + self.length, total)

    @property
    def seam(self) -> int:
        """Where, within a window, the fade-in from its left neighbour begins."""
        return (self.length - self.hop - self.fade) // 2

    def fade_in(self) -> Tensor:
        """Float32 [fade], raised cosine; with its mirror image it sums to one.

        Example:
            >>> up = Grid(8, 4, 4).fade_in()
            >>> torch.allclose(up + up.flip(0), torch.ones(4))
            True
        """
        return _raised_cosine(self.fade)


@functools.lru_cache(8)
def _raised_cosine(length: int) -> Tensor:
    phase = (np.arange(length) + 0.5) / max(1, length)
    return torch.from_numpy((np.sin(0.5 * np.pi * phase) ** 2).astype(np.float32))


def cut(chunks: Iterable[Tensor], grid: Grid) -> Iterator[Tensor]:
    """Windows [..., <= length] of the signal that `chunks` [..., any] make up; only the last may be shorter.

    Example:
        >>> [w.shape[-1] for w in cut([torch.zeros(1, 3), torch.zeros(1, 8)], Grid(6, 4, 2))]
        [6, 6, 3]
    """
    held: list[Tensor] = []
    size = 0
    for chunk in chunks:
        if not chunk.shape[-1]:
            continue
        held.append(chunk)
        size += chunk.shape[-1]
        # Strictly more than a window: with just one, it is open whether another one follows.
        while size > grid.length:
            whole = held[0] if len(held) == 1 else torch.cat(held, dim=-1)
            yield whole[..., : grid.length]
            held = [whole[..., grid.hop :]]
            size -= grid.hop
    if size:
        yield torch.cat(held, dim=-1)


def overlap_add(windows: Iterable[Tensor], grid: Grid) -> Iterator[Tensor]:
    """The signal [..., T], piece by piece, from the windows that `cut` made of it, cross-faded at the seams.

    Example:
        >>> signal = torch.arange(11.0)[None]
        >>> torch.cat(list(overlap_add(cut([signal], Grid(6, 4, 2)), Grid(6, 4, 2))), dim=-1)
        tensor([[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10.]])
    """
    up = grid.fade_in()
    tail: Tensor | None = None
    for window in windows:
        if tail is None:
            up = up.to(window.device)
            body, done = window, grid.hop + grid.seam
        else:
            start, stop = grid.seam, grid.seam + grid.fade
            mixed = tail[..., : grid.fade] * up.flip(0) + window[..., start:stop] * up
            body, done = torch.cat([mixed, window[..., stop:]], dim=-1), grid.hop
        yield body[..., :done]
        tail = body[..., done:]
    if tail is not None and tail.shape[-1]:
        yield tail
