"""Spectrograms of what goes into an enhancer, what comes out, and their difference, made while the sound streams by.

The STFT is linear, so the spectrum of what was removed is a difference, and all pictures share one scale in dB and one
time axis. Rows are spaced in mel, as hearing is; neighbouring frames are averaged where there are more than a picture
can show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROWS = 160
MOST_COLUMNS = 8192  # below what browsers draw (16384), and 5 MB a picture while it is drawn
RANGE_DB = 70.0  # below the loudest point of the input
_WINDOW_SECONDS, _HOPS_PER_SECOND = 0.043, 100
_LOWEST, _HIGHEST = 40.0, 20_000.0  # Hz
_SPREAD_DB = 50.0  # of the uncertainty strip
# One hue from the page's dark ground through its accent to paper white; lightness grows evenly.
_COLOURS = ((7, 12, 16), (10, 38, 48), (14, 84, 88), (30, 142, 128), (128, 206, 170), (253, 250, 232))


class Spectrograms:
    """Power of two aligned signals and of their difference, in mel rows.

    Args:
        sample_rate: Hz.
        frames: length of the signals, in samples.

    Attributes:
        frequencies: centre of each row in Hz, from low to high.

    Example:
        >>> tone = np.sin(np.arange(16000) * 2 * np.pi * 1000 / 16000).astype(np.float32)
        >>> spectrograms = Spectrograms(16000, 16000)
        >>> spectrograms.add(tone, 0.5 * tone)
        >>> before, after, removed = spectrograms.finish()
        >>> before.shape, round(float(spectrograms.frequencies[before[:, 50].argmax()]), -2)
        ((160, 100), 1000.0)
        >>> bool(np.allclose(after[:, 50], removed[:, 50], rtol=1e-3))
        True
    """

    def __init__(self, sample_rate: int, frames: int) -> None:
        self._size = 1 << round(np.log2(_WINDOW_SECONDS * sample_rate))
        self._hop = max(1, sample_rate // _HOPS_PER_SECOND)
        self._columns = max(1, -(-frames // self._hop))
        self._pool = -(-self._columns // MOST_COLUMNS)
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self.frequencies, self._weights = _mel_rows(sample_rate, self._size)
        self._power = np.zeros((3, ROWS, -(-self._columns // self._pool)), np.float32)
        # Frame n is centred on sample n * hop.
        self._tail = np.zeros((2, self._size // 2), np.float32)
        self._done = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """The next stretch of both signals, mono [T]."""
        self._tail = np.concatenate([self._tail, np.stack([before, after])], axis=1)
        count = (self._tail.shape[1] - self._size) // self._hop + 1
        if count > 0:
            self._frames(count)
            self._tail = self._tail[:, count * self._hop :]

    def finish(self) -> np.ndarray:
        """Power [3, rows, columns] of before, after and removed."""
        missing = self._columns - self._done
        if missing > 0:
            self.add(*np.zeros((2, missing * self._hop + self._size), np.float32))
        sizes = np.full(self._power.shape[2], self._pool, np.float32)
        sizes[-1] = self._columns - self._pool * (len(sizes) - 1)
        return self._power / sizes

    def _frames(self, count: int) -> None:
        count = min(count, self._columns - self._done)
        frames = np.lib.stride_tricks.sliding_window_view(self._tail, self._size, axis=1)[:, :: self._hop][:, :count]
        before, after = np.fft.rfft(frames * self._window, axis=-1)
        columns = (self._done + np.arange(count)) // self._pool
        for track, spectrum in enumerate((before, after, before - after)):
            rows = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ self._weights
            np.add.at(self._power[track].T, columns, rows)
        self._done += count


def _mel_rows(sample_rate: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [rows] in Hz, and triangular weights [bins, rows] that add up to 1 in each row."""
    ends = 2595 * np.log10(1 + np.array([_LOWEST, min(_HIGHEST, sample_rate / 2)]) / 700)  # O'Shaughnessy's mel
    centres = 700 * (10 ** (np.linspace(ends[0], ends[1], ROWS) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)
    width = np.maximum(np.gradient(centres), bins[1])  # low rows are narrower than a bin
    weights = np.maximum(0, 1 - np.abs(bins[:, None] - centres) / width)
    return centres, (weights / weights.sum(0)).astype(np.float32)


def write_pictures(power: np.ndarray, paths: Sequence[Path]) -> float:
    """Write a PNG for each of `power` [n, rows, columns], low frequencies at the bottom.

    White is the loudest point of the first; its level in dB is returned.
    """
    from PIL import Image

    stops = np.linspace(0, 255, len(_COLOURS))
    palette = np.stack([np.interp(np.arange(256), stops, channel) for channel in zip(*_COLOURS, strict=True)], axis=1)
    top = 10 * np.log10(max(float(power[0].max()), 1e-12))
    for rows, path in zip(power, paths, strict=True):
        level = (10 * np.log10(rows + 1e-12) - top) / RANGE_DB + 1
        picture = Image.fromarray((255 * level.clip(0, 1)[::-1]).round().astype(np.uint8), "P")
        picture.putpalette(palette.round().astype(np.uint8).tobytes())
        picture.save(path, optimize=True)
    return top


def spread(samples: Sequence[np.ndarray]) -> list[float]:
    """How much samples differ in each column, from 0 to 1 for -50 to 0 dB of their loudest column.

    Args:
        samples: power [rows, columns] of the same sound, drawn with several seeds.

    The standard deviation over samples is that of the magnitude in each row, since phases that differ are not heard;
    its mean square over the rows is what a column shows.

    Example:
        >>> quiet, loud = np.ones((4, 1)), np.full((4, 1), 9.0)
        >>> spread([np.hstack([quiet, quiet]), np.hstack([quiet, loud])])
        [0.0, 0.86]
    """
    magnitudes = np.sqrt(np.stack(samples))
    loudest = float((magnitudes**2).mean(axis=(0, 1)).max())
    ratio = magnitudes.var(axis=0).mean(axis=0) / max(loudest, 1e-12)
    level = 10 * np.log10(ratio + 1e-12) / _SPREAD_DB + 1
    return [round(value, 3) for value in level.clip(0, 1).tolist()]
