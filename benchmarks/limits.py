"""What a model costs and how steady it is: speed, memory, repeatability, agreement of windows. Prints Markdown.

    python benchmarks/limits.py --model speech --threads 2 --minutes 60 [RECORDING ...]

Speed is the median of several runs in one process; memory is the operating system's peak of `exdiff enhance` on a file
of the given length, in a process of its own. Recordings make the audio realistic; without any, coloured noise is used.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf
import torch

import exdiff


def material(recordings: list[Path], seconds: float, rate: int) -> np.ndarray:
    """`seconds` of audio [T]: the recordings one after another, again and again, or noise."""
    if not recordings:
        return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
    parts = []
    for path in recordings:
        audio, own = sf.read(path, dtype="float32", always_2d=True)
        if own != rate:
            raise SystemExit(f"{path} has {own} Hz; the model works at {rate} Hz")
        parts.append(audio.mean(axis=1))
    return np.resize(np.concatenate(parts), round(seconds * rate)).astype(np.float32)


def difference_db(a: np.ndarray, b: np.ndarray) -> float:
    """Energy of the difference relative to `b`, in dB."""
    return float(10 * np.log10(np.square(a - b).sum() / np.square(b).sum() + 1e-15))


def speed(model: str, audio: np.ndarray, rate: int, precision: str, repeats: int = 5) -> dict[int, float]:
    """Median real-time factor for the extractor alone (0 steps) and a few numbers of steps."""
    enhancer = exdiff.load(model, precision=precision)
    result = {}
    for steps in sorted({0, enhancer.steps, 2, 4}):
        factors = []
        for _ in range(repeats + 1):
            enhancer(audio, rate, steps=steps)
            factors.append(enhancer.last.rtf)
        result[steps] = median(factors[1:])
    return result


def agreement(model: str, audio: np.ndarray, rate: int) -> dict[str, float]:
    """How far other ways of cutting the same recording are from one window over all of it, in dB."""
    seconds = len(audio) / rate
    whole = exdiff.load(model, segment_seconds=seconds + 1)(audio, rate)
    ways = {
        "windows": exdiff.load(model)(audio, rate),
        "windows in batches of 3": exdiff.load(model, batch_windows=3)(audio, rate),
        "a stream of odd chunks": np.concatenate(list(exdiff.load(model).stream(np.array_split(audio, 37), rate))),
    }
    return {name: difference_db(result, whole) for name, result in ways.items()}


def long_file(model: str, audio: np.ndarray, rate: int, minutes: float, threads: int) -> tuple[float, list[str]]:
    """Peak memory in MB of enhancing a long file, and the hashes of two short results."""
    with tempfile.TemporaryDirectory() as folder:
        source, hashes = Path(folder) / "long.flac", []
        with sf.SoundFile(source, "w", samplerate=rate, channels=1) as out:
            for _ in range(round(minutes * 60 / (len(audio) / rate))):
                out.write(audio)
        command = [
            sys.executable,
            "-m",
            "exdiff",
            "enhance",
            "--model",
            model,
            "--threads",
            str(threads),
            "--overwrite",
        ]
        subprocess.run([*command, str(source), "-o", f"{folder}/out.flac"], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        short = Path(folder) / "short.wav"
        sf.write(short, audio, rate)
        for number in range(2):
            subprocess.run([*command, str(short), "-o", f"{folder}/{number}.wav"], check=True)
            hashes.append(hashlib.sha256((Path(folder) / f"{number}.wav").read_bytes()).hexdigest()[:16])
    return peak, hashes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the long file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rate = exdiff.load(options.model).model.sample_rate
    audio = material(options.recordings, 60.0, rate)
    # First: Linux counts what this process has used by then as its children's too.
    peak, hashes = long_file(options.model, audio, rate, options.minutes, options.threads)
    print(f"Peak memory for {options.minutes:g} minutes: {peak:.0f} MB.")
    print(f"The same input and seed twice: SHA-256 {hashes[0]}... and {hashes[1]}...\n")
    print(f"Real-time factors at {options.threads} threads:\n")
    print("| steps | fp32 | precision chosen by the machine |\n|---|---|---|")
    chosen = speed(options.model, audio, rate, "auto")
    for steps, factor in speed(options.model, audio, rate, "fp32").items():
        print(f"| {steps} | {factor:.4f} | {chosen[steps]:.4f} |")
    print("\n| cut | difference to one window over 60 s |\n|---|---|")
    for name, level in agreement(options.model, audio, rate).items():
        print(f"| {name} | {level:.1f} dB |")


if __name__ == "__main__":
    main()
