"""Make the bundled example clips: clean speech plus recorded noise at a chosen signal-to-noise ratio.

It documents how the files under `examples/speech` came about; nobody needs to run it to use exdiff. The data folder
holds `valid/speech/clean/*.flac` (speechocean762) and `train/noise/*.opus` (sounds of the Blanket project), mono at
16 kHz. Credits and licences of every recording: `examples/README.md`.

    python examples/make_examples.py --data DATA_FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

PEAK = 0.9  # of full scale, so that no mixture clips


@dataclass(frozen=True)
class Example:
    """One mixture: which speech, which noise from which second on, and how loud."""

    name: str
    speech: str
    noise: str
    start_seconds: float
    snr_db: float


EXAMPLES = (
    Example("01_coffee_shop_5dB", "054_noise_+15dB", "blanket__coffee-shop", 1.0, 5.0),
    Example("02_boat_0dB", "022_music_+5dB", "blanket__boat", 6.0, 0.0),
    Example("03_crickets_0dB", "024_noise_+15dB", "blanket__summer-night", 4.0, 0.0),
    Example("04_coffee_shop_0dB", "017_babble_+5dB", "blanket__coffee-shop", 9.0, 0.0),
)


def mix(clean: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Add `noise` [T] to `clean` [T] at `snr_db` over the whole clip; returns (clean, noisy) under one common gain."""
    ratio = np.sqrt(np.mean(clean**2) / np.mean(noise**2))
    noisy = clean + noise * ratio * 10 ** (-snr_db / 20)
    gain = min(1.0, PEAK / np.abs(noisy).max())
    return clean * gain, noisy * gain


def main() -> None:
    """Write examples/speech/{clean,noisy}/NAME.flac."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with valid/speech/clean and train/noise")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "speech")
    options = parser.parse_args()
    for example in EXAMPLES:
        clean, rate = sf.read(options.data / "valid" / "speech" / "clean" / f"{example.speech}.flac")
        noise, noise_rate = sf.read(options.data / "train" / "noise" / f"{example.noise}.opus")
        if noise_rate != rate:
            raise SystemExit(f"{example.noise}: {noise_rate} Hz, expected {rate} Hz as the speech has")
        start = int(example.start_seconds * rate)
        pair = mix(clean, noise[start : start + len(clean)], example.snr_db)
        for side, signal in zip(("clean", "noisy"), pair, strict=True):
            path = options.out / side / f"{example.name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, signal, rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
