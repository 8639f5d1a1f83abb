"""Several sources, one after the other: joined files, and the pieces of a damaged one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import soundfile

from exdiff.audio.reading.source import MAX_BLOCK, Source
from exdiff.core.errors import AudioError


@dataclass(frozen=True)
class Piece:
    """A source to open when its turn comes; `place` is its first sample, None for directly behind the one before."""

    open: Callable[[], Source]
    place: Callable[[Source], int] | None = None


class ChainSource(Source):
    """Pieces as one stream.

    Raises:
        AudioError: a piece has another rate or number of channels than the first (in salvage mode it ends there).
    """

    def __init__(
        self, name: str, pieces: Sequence[Piece], *, note: str = "", seconds: float | None = None, salvage: bool = False
    ) -> None:
        self.name, self._pieces, self._salvage = name, pieces, salvage
        self._source = pieces[0].open()
        self.info = self._source.info if len(pieces) == 1 else replace(self._source.info, frames=None)
        self.start, self.seconds = self._source.start, seconds
        self.notes, self.missing = [note] if note else [], []

    def native(self, frames: int) -> Iterator[np.ndarray]:
        total = 0
        for number, piece in enumerate(self._pieces):
            if number and not self._open(piece, total):
                continue
            if piece.place is not None and (lost := piece.place(self._source) - total) > 0:
                self.missing.append((total / self.info.sample_rate, lost / self.info.sample_rate))
                total += lost
                yield from self._silence(lost)
            if not self._fits(total):
                break
            offset = total / self.info.sample_rate
            for block in self._source.native(frames):
                total += block.shape[1]
                yield block
            self.notes += [note for note in self._source.notes if note not in self.notes]
            self.missing += [(start + offset, length) for start, length in self._source.missing]

    def _open(self, piece: Piece, total: int) -> bool:
        self._source.close()
        try:
            self._source = piece.open()
        except (AudioError, soundfile.LibsndfileError) as error:
            seconds = total / self.info.sample_rate
            if not self._salvage:
                raise AudioError(
                    f"{self.name}: the part that begins at {seconds:.2f} s is damaged ({error})"
                ) from error
            self.missing.append((seconds, 0.0))
            return False
        return True

    def _silence(self, length: int) -> Iterator[np.ndarray]:
        size = MAX_BLOCK // self.info.channels
        kind = np.int32 if self.info.bits else np.float32
        for start in range(0, length, size):
            yield np.zeros((self.info.channels, min(size, length - start)), kind)

    def _fits(self, total: int) -> bool:
        was, now = self.info, self._source.info
        if (was.sample_rate, was.channels, was.bits) == (now.sample_rate, now.channels, now.bits):
            return True
        seconds = total / was.sample_rate
        change = (
            f"changes from {was.channels} channels at {was.sample_rate} Hz to {now.channels} at {now.sample_rate} Hz "
            f"after {seconds:.2f} s"
        )
        if not self._salvage:
            raise AudioError(f"{self.name}: {change}; split it there, or keep the first part with --salvage")
        self.notes.append(f"{change}: the rest is left out")
        self.missing.append((seconds, (now.frames or 0) / now.sample_rate))
        return False

    def close(self) -> None:
        self._source.close()
