"""Blocks of results: float samples, or integers where both stems must add up to the song exactly."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from exdiff.audio import AudioReader
from exdiff.cli.ending import ENDING
from exdiff.core.stems import STEMS
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.options import CallOptions


class Writer(Protocol):
    """What `AudioWriter` and `PipeWriter` have in common."""

    exact: bool
    clipped: int

    def write(self, block: np.ndarray) -> None: ...

    def quantise(self, block: np.ndarray) -> np.ndarray: ...

    def write_exact(self, block: np.ndarray) -> None: ...


def write_parts(
    reader: AudioReader,
    writers: Sequence[Writer],
    whats: Sequence[str],
    enhancer: Enhancer,
    options: CallOptions,
    bits: int,
) -> Iterator[tuple[int, int]]:
    """Enhance what `reader` gives and write it; yields the samples of each block, and the evaluations per window.

    Args:
        reader: of the source.
        writers: one for each of `whats`.
        whats: "enhanced", or names of stems.
        enhancer: that does the work.
        options: of its call.
        bits: depth of the integer samples that are written; 0 for float and lossy codecs.
    """
    rate = reader.info.sample_rate
    if whats[0] not in STEMS:
        stream = enhancer.stream(ENDING.watch(reader.blocks()), rate, **options)
        for part in stream:
            writers[0].write(part)
            yield part.shape[-1], stream.run.nfe
        return
    if all(writer.exact for writer in writers):
        yield from _write_exact(reader, dict(zip(whats, writers, strict=True)), enhancer, options, bits)
        return
    separated = enhancer.separate_stream(ENDING.watch(reader.blocks()), rate, **options)
    for both in separated:
        for writer, what in zip(writers, whats, strict=True):
            writer.write(both[what])
        yield both[whats[0]].shape[-1], separated.run.nfe


def _write_exact(
    reader: AudioReader, writers: Mapping[str, Writer], enhancer: Enhancer, options: CallOptions, bits: int
) -> Iterator[tuple[int, int]]:
    """The second stem is the song minus the first, in integers, also where only one of them is written."""
    rounding = next(iter(writers.values()))
    song = _Song(reader, rounding, bits)
    separated = enhancer.separate_stream(ENDING.watch(song.blocks()), reader.info.sample_rate, **options)
    for both in separated:
        first = rounding.quantise(both[STEMS[0]])
        stems = split_exactly(song.take(first.shape[-1]), first, bits)
        for what, stem in zip(STEMS, stems, strict=True):
            if what in writers:
                writers[what].clipped += int(np.count_nonzero(np.abs(both[what]) > 1))
                writers[what].write_exact(stem)
        yield first.shape[-1], separated.run.nfe


def split_exactly(song: np.ndarray, first: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Two stems of `bits` bits that add up to `song`; `first` changes only where the second would not fit.

    Example:
        >>> split_exactly(np.array([100, 30000]), np.array([20, -30000]), 16)
        (array([   20, -2767], dtype=int32), array([   80, 32767], dtype=int32))
    """
    limit = 1 << (bits - 1)
    second = np.clip(song.astype(np.int64) - first, -limit, limit - 1)
    return (song - second).astype(np.int32), second.astype(np.int32)


class _Song:
    """The song's samples as integers of the results' depth, kept until the stems of that stretch are ready."""

    def __init__(self, reader: AudioReader, writer: Writer, bits: int) -> None:
        self._reader, self._writer, self._bits = reader, writer, bits
        self._waiting: deque[np.ndarray] = deque()

    def blocks(self) -> Iterator[np.ndarray]:
        """Float blocks for the enhancer."""
        own = self._reader.info.bits
        if not 0 < own <= self._bits:  # the song itself has to be rounded
            for block in self._reader.blocks():
                self._waiting.append(self._writer.quantise(block))
                yield block
            return
        for block in self._reader.exact_blocks():
            self._waiting.append(block << (self._bits - own))
            yield block.astype(np.float32) * np.float32(2.0 ** (1 - own))

    def take(self, length: int) -> np.ndarray:
        """The next `length` samples."""
        parts, missing = [], length
        while missing:
            block = self._waiting.popleft()
            parts.append(block[:, :missing])
            if block.shape[-1] > missing:
                self._waiting.appendleft(block[:, missing:])
            missing -= parts[-1].shape[-1]
        return np.concatenate(parts, axis=-1)
