"""Enhance a data folder with every rival, in their separate environment (see README.md). Nothing is scored here.

    python benchmarks/rivals/rivals.py DATA OUT [--only NAME ...] [--limit N]
    python benchmarks/rivals/rivals.py DATA OUT --time

Each file of DATA/noisy becomes OUT/NAME/*.wav, float32, with the same rate and length. The delay of a rival is measured
on the data, as the lag at which its output correlates best with its input, the median over some files, and is
compensated. OUT/NAME.json has the facts about the rival and its delay. Existing results are kept. With --time nothing
is enhanced; instead, some files are timed with one thread on one core, which needs an otherwise idle machine.

Each rival runs in a separate process. If one is not installed or fails, one line reports it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import soxr
import weights
from alignment import common, lag, shifted
from frames import Process
from systems import RIVALS, Rival

SUFFIXES = {".wav", ".flac", ".ogg"}
LONGEST = 0.1  # seconds, the largest delay that is searched for
MEASURED = 9  # files, spread over the data, on which the delay is measured
TIMED = 3  # files


def read(path: Path) -> tuple[np.ndarray, int]:
    """A mono file as float32 [T], and its rate in Hz."""
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if wave.shape[1] != 1:
        raise ValueError(f"{path.name} has {wave.shape[1]} channels; the rivals take mono")
    return wave[:, 0], rate


def prepared(path: Path, rival: Rival) -> np.ndarray:
    """The file at the rival's rate, padded with silence, so that a delayed output is complete."""
    wave, rate = read(path)
    return np.pad(soxr.resample(wave, rate, rival.rate, "VHQ"), (0, round(LONGEST * rival.rate))).astype(np.float32)


def run(process: Process, wave: np.ndarray) -> np.ndarray:
    """The rival's output, float32 [T], with its delay."""
    with np.errstate(all="ignore"):  # third-party code takes logarithms of silence
        return np.nan_to_num(np.asarray(process(wave), np.float32).reshape(-1))


def measure(files: Sequence[Path], rival: Rival) -> int:
    """The rival's delay in samples at its rate."""
    lags = []
    for path in files[:: max(1, len(files) // MEASURED)][:MEASURED]:
        wave = prepared(path, rival)
        lags.append(lag(wave, run(rival.load(), wave), round(LONGEST * rival.rate)))
    return common(lags)


def enhance(path: Path, out: Path, rival: Rival, delay: int) -> None:
    """Write the enhanced file; it is never half-written."""
    wave, rate = read(path)
    estimate = run(rival.load(), prepared(path, rival))
    estimate = shifted(estimate, delay, round(len(wave) * rival.rate / rate))
    estimate = shifted(soxr.resample(estimate, rival.rate, rate, "VHQ"), 0, len(wave))
    part = out.with_name(f".{out.name}.part")
    soundfile.write(part, estimate, rate, format="WAV", subtype="FLOAT")
    part.replace(out)


def real_time_factor(files: Sequence[Path], rival: Rival) -> float:
    """Seconds per second of audio, median over files, without loading, resampling and the first call."""
    waves = [prepared(path, rival) for path in files[:TIMED]]
    run(rival.load(), waves[0])
    factors = []
    for wave in waves:
        process = rival.load()
        begin = time.perf_counter()
        run(process, wave)
        factors.append((time.perf_counter() - begin) * rival.rate / len(wave))
    return median(factors)


def facts(name: str) -> dict[str, Any]:
    """Package, version, licence, rate and parameters of a rival."""
    rival = RIVALS[name]
    base = Path(soundfile.__file__).parent
    files = [path for pattern in rival.weights for path in sorted(base.glob(pattern))]
    if rival.weights and not files:
        raise FileNotFoundError(f"no file matches {rival.weights[0]}")
    count = weights.parameters(files) if files else rival.parameters
    return {
        "name": name,
        "package": rival.package,
        "version": _version(rival.package),
        "licence": rival.licence,
        "rate": rival.rate,
        "parameters": count,
        "parameters_are": "counted" if files else "stated",
    }


def _version(package: str) -> str:
    if package == "ffmpeg":
        return subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return importlib.metadata.version(package) if package else ""


def save(path: Path, values: dict[str, Any]) -> None:
    """Write JSON; the file is never half-written."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def track(name: str, files: Sequence[Path]) -> Iterator[Path]:
    """Yield the files, with a counter on a terminal."""
    for i, path in enumerate(files, 1):
        yield path
        if sys.stderr.isatty():
            print(f"\r{name} {i}/{len(files)}", end="\n" if i == len(files) else "", file=sys.stderr, flush=True)


def work(name: str, files: Sequence[Path], out: Path, limit: int | None, timed: bool) -> str:
    """Enhance or time the files with one rival; returns a line to print. A limit does not affect the delay."""
    rival, about = RIVALS[name], out / f"{name}.json"
    known = json.loads(about.read_text(encoding="utf-8")) if about.exists() else {}
    known |= facts(name)
    (out / name).mkdir(parents=True, exist_ok=True)
    if timed:
        known["rtf"] = real_time_factor(files, rival)
        save(about, known)
        return f"{known['rtf']:.4f} s per second of audio"
    if "delay" not in known:
        known["delay"] = measure(files, rival)
    save(about, known)
    targets = {path: out / name / f"{path.stem}.wav" for path in files[:limit]}
    missing = [path for path, target in targets.items() if not target.exists()]
    for path in track(name, missing):
        enhance(path, targets[path], rival, known["delay"])
    return f"{len(missing)} files enhanced, {len(targets) - len(missing)} already done; delay {known['delay']} samples"


def attempt(name: str, files: Sequence[Path], out: Path, limit: int | None, timed: bool) -> int:
    """Run `work` in this process, with one thread, and print one line; returns the exit code."""
    if timed and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        print(f"{name}: {work(name, files, out, limit, timed)}", flush=True)
    except (Exception, SystemExit) as error:  # third-party code may raise anything; the other rivals continue
        print(f"{name}: failed, {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
        return 1
    return 0


def main() -> int:
    """Run each rival in a separate process, so that a crash affects no other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(RIVALS), default=list(RIVALS), metavar="NAME")
    parser.add_argument("--limit", type=int, help="enhance the first N files")
    parser.add_argument("--time", action="store_true", help="measure the speed instead")
    options = parser.parse_args()
    files = sorted(path for path in (options.data / "noisy").glob("*") if path.suffix in SUFFIXES)
    if not files:
        parser.error(f"{options.data / 'noisy'} holds no audio files ({', '.join(sorted(SUFFIXES))})")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit must be 1 or more, got {options.limit}")
    if len(options.only) == 1:
        return attempt(options.only[0], files, options.out, options.limit, options.time)
    failed = 0
    words = ["--time"] if options.time else []
    words += ["--limit", str(options.limit)] if options.limit else []
    for name in options.only:
        place = [str(options.data), str(options.out), "--only", name]
        code = subprocess.run([sys.executable, __file__, *place, *words]).returncode
        if code < 0:
            print(f"{name}: failed, its process was killed by signal {-code}", flush=True)
        failed += code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the rivals' processes
    sys.exit(main())
