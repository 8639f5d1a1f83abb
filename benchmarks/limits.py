"""What a model costs and how reproducible it is: speed, memory, repeatability, agreement of windows. Prints Markdown.

    python benchmarks/limits.py --model speech --threads 2 --minutes 60 [RECORDING ...]

Speed is the median of several runs in one process. Memory is the peak that the operating system reports for `exdiff
enhance` on a file of the given length, in a separate process, with the extractor alone and with one evaluation. The
audio is made of the recordings, or is noise if there are none. Stereo models are measured on stereo.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf
import torch

import exdiff
from exdiff.checkpoints.checkpoint import load_recipe


def material(recordings: list[Path], seconds: float, rate: int, channels: int) -> np.ndarray:
    """`seconds` of audio [C, T]: the recordings in a loop, or noise."""
    size = round(seconds * rate)
    if not recordings:
        return 0.1 * np.random.default_rng(0).standard_normal((channels, size)).astype(np.float32)
    parts = []
    for path in recordings:
        audio, own = sf.read(path, dtype="float32", always_2d=True)
        if own != rate:
            raise SystemExit(f"{path} has {own} Hz; the model works at {rate} Hz")
        mono = audio.mean(axis=1, keepdims=True)
        parts.append(audio if audio.shape[1] == channels else np.repeat(mono, channels, axis=1))
    return np.ascontiguousarray(np.resize(np.concatenate(parts), (size, channels)).T)


def difference_db(a: np.ndarray, b: np.ndarray) -> float:
    """Energy of the difference relative to `b`, in dB."""
    return float(10 * np.log10(np.square(a - b).sum() / np.square(b).sum() + 1e-15))


def speed(model: str, audio: np.ndarray, rate: int, precision: str, repeats: int = 5) -> dict[int, float]:
    """Median real-time factor for the extractor alone (0 steps) and a few numbers of steps."""
    enhancer = exdiff.load(model, precision=precision)
    result = {}
    several = {1, 2, 4} if enhancer.model.backbone is not None else set()
    for steps in sorted({0, *several}):
        factors = []
        for _ in range(repeats + 1):
            enhancer(audio, rate, steps=steps)
            factors.append(enhancer.last.rtf)
        result[steps] = median(factors[1:])
    return result


def agreement(model: str, audio: np.ndarray, rate: int) -> dict[str, float]:
    """Difference in dB between other ways of cutting a recording and one window over all of it."""
    seconds = audio.shape[-1] / rate
    whole = exdiff.load(model, segment_seconds=seconds + 1)(audio, rate)
    ways = {
        "windows": exdiff.load(model)(audio, rate),
        "windows in batches of 3": exdiff.load(model, batch_windows=3)(audio, rate),
        "a stream of odd chunks": np.concatenate(
            list(exdiff.load(model).stream(np.array_split(audio, 37, axis=-1), rate)), axis=-1
        ),
    }
    return {name: difference_db(result, whole) for name, result in ways.items()}


def enhance(model: str, threads: int, steps: int, source: Path, out: Path) -> tuple[float, str]:
    """Wall time in seconds of `exdiff enhance`, including start-up, and the hash of its result."""
    command = [sys.executable, "-m", "exdiff", "enhance", "--model", model, "--threads", str(threads), "--overwrite"]
    command += ["--steps", str(steps)]
    start = time.perf_counter()
    subprocess.run([*command, str(source), "-o", str(out)], check=True)
    return time.perf_counter() - start, hashlib.sha256(out.read_bytes()).hexdigest()[:16]


def long_file(model: str, audio: np.ndarray, rate: int, minutes: float, threads: int, most: int) -> list[str]:
    """Memory and time of enhancing a long file, and the hashes of two short results, as lines."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.flac"
        with sf.SoundFile(source, "w", samplerate=rate, channels=len(audio)) as out:
            for _ in range(round(minutes * 60 / (audio.shape[-1] / rate))):
                out.write(audio.T)
        for steps in sorted({0, most}):  # the peak is over all runs so far; more steps never need less
            seconds, _ = enhance(model, threads, steps, source, Path(folder) / "out.flac")
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            lines.append(f"A file of {minutes:g} minutes, {steps} steps: {seconds:.0f} s, peak memory {peak:.0f} MB.")
        short = Path(folder) / "short.wav"
        sf.write(short, audio.T, rate)
        hashes = [enhance(model, threads, most, short, Path(folder) / f"{number}.wav")[1] for number in range(2)]
        lines.append(f"The same input and seed twice: SHA-256 {hashes[0]}... and {hashes[1]}...")
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the long file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = load_recipe(options.model)
    rate = recipe.sample_rate
    audio = material(options.recordings, 60.0, rate, recipe.channels)
    # This comes first: on Linux the peak of a child includes what this process had used when it started.
    most = 1 if recipe.backbone else 0
    print("\n".join(long_file(options.model, audio, rate, options.minutes, options.threads, most)))
    print(f"\nReal-time factors at {options.threads} threads:\n")
    print("| steps | fp32 | precision chosen by the machine |\n|---|---|---|")
    chosen = speed(options.model, audio, rate, "auto")
    for steps, factor in speed(options.model, audio, rate, "fp32").items():
        print(f"| {steps} | {factor:.4f} | {chosen[steps]:.4f} |")
    print("\n| cut | difference to one window over 60 s |\n|---|---|")
    for name, level in agreement(options.model, audio, rate).items():
        print(f"| {name} | {level:.1f} dB |")


if __name__ == "__main__":
    main()
