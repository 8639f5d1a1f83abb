"""A live model over a long stream: latency, computing time, and whether it is as good in the end as in the beginning.

    python benchmarks/live.py DATA --model speech-live --minutes 10

DATA has clean/ and noisy/, mono. Their recordings, joined, are played again and again, in chunks of 10 ms, to one
stream that computes with one thread. The same recordings are scored in the first round and in the last. Takes about as
long as the stream times the real-time factor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

import exdiff
from exdiff import Live
from exdiff.evaluation import Pair, find_pairs
from exdiff.evaluation.metrics.si_sdr import si_sdr

CHUNK_SECONDS = 0.01
ROUND_SECONDS = 60.0


def chosen(data: Path) -> list[Pair]:
    """Pairs spread over the data, of about a minute in all."""
    pairs = [item.load() for item in find_pairs(data)]
    whole = sum(pair.mixture.shape[-1] / pair.sample_rate for pair in pairs)
    return pairs[:: max(1, round(whole / ROUND_SECONDS))]


def play(live: Live, stream: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The output without its delay, and the milliseconds that each chunk took which completed a hop."""
    heard, times = [], []
    for chunk in np.split(stream, range(step := round(CHUNK_SECONDS * rate), len(stream), step)):
        before, start = live.run.seconds, time.perf_counter()
        heard.append(live.process(chunk))
        if live.run.seconds > before:
            times.append(1000 * (time.perf_counter() - start))
    heard.append(live.flush())
    return np.concatenate(heard)[live.latency_samples :], np.array(times)


def score(heard: np.ndarray, pairs: Sequence[Pair], begin: int) -> float:
    """The mean SI-SDR of the round that begins at this sample, in dB."""
    scores = []
    for pair in pairs:
        length = pair.mixture.shape[-1]
        scores.append(si_sdr(heard[begin : begin + length], pair.clean, pair.mixture, pair.sample_rate)["si_sdr"])
        begin += length
    return fmean(scores)


def main() -> None:
    """Play, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="speech-live")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = chosen(options.data)
    rate = pairs[0].sample_rate
    once = np.concatenate([pair.mixture for pair in pairs]).astype(np.float32)
    rounds = max(2, round(60 * options.minutes * rate / len(once)))
    live = exdiff.load(options.model, device="cpu", precision=options.precision).live(rate)
    heard, times = play(live, np.tile(once, rounds), rate)
    first, last = (score(heard, pairs, number * len(once)) for number in (0, rounds - 1))
    print(f"latency: {1000 * live.latency_seconds:.1f} ms at {rate} Hz, a hop of {1000 * live.hop_seconds:.1f} ms")
    print(f"computing: {live.run.rtf:.3f} of the time, one thread, over {live.run.audio_seconds / 60:.1f} minutes")
    ranks = [np.percentile(times, q) for q in (50, 99, 99.9, 100)]
    print("a hop takes: median {:.1f}, 99 % {:.1f}, 99.9 % {:.1f}, at most {:.1f} ms".format(*ranks))
    mixture = score(once, pairs, 0)
    print(
        f"SI-SDR of {len(pairs)} recordings: mixture {mixture:.2f} dB, round 1 {first:.2f}, round {rounds} {last:.2f}"
    )


if __name__ == "__main__":
    main()
