"""Measure one signal block by block: level, clipping, silence, offset, bandwidth, and a hash of its content."""

from __future__ import annotations

import hashlib

import numpy as np

Array = np.ndarray
FULL_SCALE = 0.999  # samples at or above this ...
CLIPPED_RUN = 3  # ... count as clipped if there are this many in a row
SILENT_DB = -70.0  # RMS of a window of 50 ms, dB re full scale
_WINDOWS_A_SECOND = 20
_N_FFT = 2048
_EDGE_DB = 25.0  # drop of the spectrum within a tenth of the band that counts as an edge
_TOP = 0.02  # of the band: an edge this close to its end is that of the converter's filter
_LOWEST = 3000.0  # Hz; no recorder has less bandwidth, but a bass or a voice may end below
_FLOOR_DB = 10.0  # above an edge the spectrum may rise at most this far over its level right behind the edge


class Measure:
    """Feed `add` with float32 blocks [C, T] of about a second; then read the attributes and `row`.

    Attributes:
        frames: samples a channel so far.
        runs, clipped: number of runs of full-scale samples, and of samples in them.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate, self.channels, self.frames = sample_rate, channels, 0
        self.peak, self.runs, self.clipped = 0.0, 0, 0
        self._sum, self._squares = np.zeros(channels), np.zeros(channels)
        self._carry = np.zeros(channels, dtype=np.int64)  # length of the run at the end of the last block
        self._windows, self._silent = 0, 0
        self._spectrum = np.zeros(_N_FFT // 2 + 1)
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, block: Array) -> None:
        """Add the next samples."""
        self.frames += block.shape[-1]
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=1)
        self._hash.update(np.clip(np.round(block.T * 32768.0), -32768, 32767).astype("<i2").tobytes())
        self._count_silence(block)
        if self.peak >= FULL_SCALE or self._carry.any():
            for channel in range(self.channels):
                self._count_runs(np.abs(block[channel]) >= FULL_SCALE, channel)
        whole = block.shape[-1] // _N_FFT * _N_FFT
        if whole:
            parts = block[:, :whole].reshape(self.channels, -1, _N_FFT) * np.hanning(_N_FFT).astype(np.float32)
            self._spectrum += np.square(np.abs(np.fft.rfft(parts))).sum(axis=(0, 1))

    def finish(self) -> None:
        """Count the runs that reach the end of the signal."""
        for channel in range(self.channels):
            self._count_runs(np.zeros(1, dtype=bool), channel)

    @property
    def silent_share(self) -> float:
        """Share of silent windows, 0 to 1."""
        return self._silent / max(1, self._windows)

    @property
    def dc(self) -> float:
        """The mean of the channel with the largest offset, relative to full scale."""
        means = self._sum / max(1, self.frames)
        return float(means[np.abs(means).argmax()])

    @property
    def rms(self) -> float:
        """Root mean square of all samples."""
        return float(np.sqrt(self._squares.sum() / max(1, self.frames * self.channels)))

    @property
    def content(self) -> str:
        """A hash of the samples in 16 bits; empty for digital silence, which does not count as a duplicate."""
        return self._hash.hexdigest() if self.peak > 0 else ""

    def bandwidth(self) -> float:
        """The frequency in Hz of a steep edge with nothing above it, or half the sample rate if there is none."""
        return band_edge(self._spectrum, self.sample_rate)

    def row(self) -> dict[str, object]:
        """The measurements as plain values, for a report."""
        return {
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "frames": self.frames,
            "seconds": round(self.frames / self.sample_rate, 4),
            "peak_db": _db(self.peak),
            "rms_db": _db(self.rms),
            "dc": round(self.dc, 5),
            "clipped_runs": self.runs,
            "clipped_samples": self.clipped,
            "silent_share": round(self.silent_share, 4),
            "bandwidth_hz": round(self.bandwidth()),
            "content": self.content,
        }

    def _count_silence(self, block: Array) -> None:
        size = max(1, self.sample_rate // _WINDOWS_A_SECOND)
        whole = block.shape[-1] // size * size
        parts = block[:, :whole].reshape(self.channels, -1, size) if whole else block[:, None, :]
        power = np.square(parts, dtype=np.float64).mean(axis=(0, 2))
        self._windows += len(power)
        self._silent += int((power < 10 ** (SILENT_DB / 10)).sum())

    def _count_runs(self, full: Array, channel: int) -> None:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
        lengths = edges[1::2] - edges[::2]
        carried = int(self._carry[channel])
        if carried and full[0]:
            lengths[0] += carried
        elif carried:
            lengths = np.concatenate([[carried], lengths])
        self._carry[channel] = 0
        if full[-1]:
            self._carry[channel], lengths = int(lengths[-1]), lengths[:-1]
        long = lengths[lengths >= CLIPPED_RUN]
        self.runs += len(long)
        self.clipped += int(long.sum())


def band_edge(spectrum: Array, sample_rate: int) -> float:
    """The frequency in Hz where a power spectrum falls steeply and stays low, or half the sample rate if it does not.

    A resampler leaves such an edge at half the old rate, a codec at its cut-off. The spectra of music and speech fall
    too, but slowly.
    """
    bins, half = len(spectrum), sample_rate / 2
    width, gap = round(0.04 * bins), round(0.03 * bins)
    end = round((1 - _TOP) * bins)
    places = np.arange(max(width + gap, round(_LOWEST / half * bins)), end - gap - width)
    if not len(places) or spectrum.max() <= 0:
        return half
    level = 10 * np.log10(spectrum / spectrum.max() + 1e-15)
    total = np.concatenate([[0.0], np.cumsum(level)])
    below = (total[places - gap] - total[places - gap - width]) / width
    above = (total[places + gap + width] - total[places + gap]) / width
    at = int((below - above).argmax())
    place = int(places[at])
    tail = np.convolve(level[place + gap : end], np.ones(width) / width, mode="valid")
    found = below[at] - above[at] >= _EDGE_DB and tail.max() < above[at] + _FLOOR_DB
    return place / (bins - 1) * half if found else half


def _db(value: float) -> float | None:
    return round(float(20 * np.log10(value)), 2) if value > 0 else None
