"""Draw noisy, enhanced and clean recordings below each other on one colour scale, as in the README.

    python benchmarks/spectrogram.py NOISY.flac ENHANCED.flac CLEAN.flac -o before_after.png

It needs matplotlib (`pip install "exdiff[docs]"`). Levels are not changed: what is louder in the file is
brighter in the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import soundfile as sf

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RANGE_DB = 80.0  # below the loudest bin of the three


def power_db(signal: np.ndarray, sample_rate: int, window_seconds: float = 0.032) -> np.ndarray:
    """Power spectrogram [F, N] in dB of a waveform [T], from periodic Hann windows that overlap by three quarters.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
        >>> int(power_db(tone, 8000).mean(axis=1).argmax() / 0.032)  # Hz
        1000
    """
    size = round(window_seconds * sample_rate)
    window = np.hanning(size + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(signal, size)[:: size // 4] * window
    return 10 * np.log10(np.abs(np.fft.rfft(frames)).T ** 2 + 1e-10)


def draw(recordings: Mapping[str, tuple[np.ndarray, int]], path: Path) -> None:
    """Write one figure of title -> (waveform [T], sample rate in Hz)."""
    pictures = {title: power_db(*recording) for title, recording in recordings.items()}
    top = max(float(picture.max()) for picture in pictures.values())
    figure, axes = plt.subplots(len(pictures), 1, figsize=(9, 6.5), sharex=True, layout="constrained")
    image = None
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        signal, sample_rate = recordings[title]
        extent = (0.0, len(signal) / sample_rate, 0.0, sample_rate / 2000)
        image = axis.imshow(
            picture, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma"
        )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    assert image is not None
    figure.colorbar(image, ax=axes, label="dB", shrink=0.6)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def read(path: Path) -> tuple[np.ndarray, int]:
    """A file as mono waveform [T] and its rate."""
    samples, sample_rate = sf.read(path, always_2d=True)
    return samples.mean(axis=1), int(sample_rate)


def main() -> None:
    """Read three files and write one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("noisy", "enhanced", "clean"):
        parser.add_argument(name, type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("before_after.png"))
    options = parser.parse_args()
    draw({name: read(getattr(options, name)) for name in ("noisy", "enhanced", "clean")}, options.out)


if __name__ == "__main__":
    main()
