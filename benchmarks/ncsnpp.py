"""How fast the published NCSN++ (65.6 million parameters) runs here, compared with a plain form of the same network.

    python benchmarks/ncsnpp.py --threads 2

One evaluation of 2 s of audio, a map of 256 x 256. The plain form is the obvious one: contiguous float32 memory, FIR
resampling by strided and transposed depthwise convolutions, sums and activations out of place, and the default
allocator. All forms have the same weights and run alternately, each time in a new process, since allocator settings are
per process. Prints Markdown: medians, ratios, distance of the outputs, the rate compared with the best matrix product,
and where the time goes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from exdiff.core.machine import fast_weights, keep_memory, precision
from exdiff.model.backbones import BACKBONES, ncsnpp, ncsnpp_blocks
from exdiff.model.nn.cost import Counter

PLAIN = "plain, fp32"
# Kinds of operations, by parts of their names in the profiler; the rest is summed.
KINDS = {
    "convolutions": ("conv",),
    "matrix products": ("mm",),  # also those of convolutions by Winograd's algorithm
    "norms": ("group_norm",),
    "activations": ("silu",),
    "sums and scales": ("add", "mul"),
    "concatenations": ("cat",),
    "casts and copies": ("copy_", "_to_copy"),
}


def transposed(self: ncsnpp_blocks.Resample, x: Tensor) -> Tensor:
    """`Resample.forward` straight from its definition."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    weight = torch.outer(taps, taps).expand(x.shape[1], 1, -1, -1)
    resample = functional.conv_transpose2d if self.up else functional.conv2d
    return resample(x, 4 * weight if self.up else weight, stride=2, padding=1, groups=x.shape[1])


def shifted(self: ncsnpp_blocks.Convolution, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """`Convolution.forward` with a separate sum."""
    x = torch.nn.Conv2d.forward(self, x)
    return x if shift is None else x + shift[:, :, None, None]


@contextmanager
def plainly() -> Iterator[None]:
    """Run the network in its plain form."""
    with (
        mock.patch.object(ncsnpp, "fast_layout", lambda x: x),
        mock.patch.object(ncsnpp_blocks, "activated", functional.silu),
        mock.patch.object(ncsnpp_blocks, "merged", lambda x, h, scale: (x + h) * scale),
        mock.patch.object(ncsnpp_blocks.Resample, "forward", transposed),
        mock.patch.object(ncsnpp_blocks.Convolution, "forward", shifted),
    ):
        yield


def seconds(work: Callable[[], Tensor]) -> float:
    """Duration of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def kinds(work: Callable[[], Tensor]) -> dict[str, float]:
    """Share of the time by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        work()
    totals = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in run.key_averages():
        kind = next((k for k, words in KINDS.items() if any(w in event.key for w in words)), "everything else")
        totals[kind] += event.self_cpu_time_total
    whole = sum(totals.values())
    return {kind: value / whole for kind, value in totals.items()}


def best_product(dtype: torch.dtype) -> float:
    """GFLOP/s of the fastest of some square matrix products."""
    best = 0.0
    for size in (1024, 2048, 4096):
        a = torch.ones(size, size, dtype=dtype)
        _ = a @ a
        best = max(best, 2 * size**3 / min(seconds(lambda a=a: a @ a) for _ in range(5)) / 1e9)
    return best


@torch.inference_mode()
def measure(form: str, repeats: int) -> dict[str, Any]:
    """The measurements of one form in one process."""
    torch.manual_seed(0)
    network = BACKBONES["ncsnpp"]().eval()
    x, t = torch.randn(1, 4, 256, 256), torch.tensor([0.5])
    dtype = torch.bfloat16 if "bf16" in form else torch.float32

    def work() -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return network(x, t)

    if form == PLAIN:
        with plainly():
            reference = output = work()
            times = [seconds(work) for _ in range(repeats)]
            shares = kinds(work)
    else:
        with plainly():
            reference = network(x, t)
        keep_memory()
        fast_weights(network, dtype)
        output = work()
        times = [seconds(work) for _ in range(repeats)]
        shares = kinds(work)
    apart = 20 * torch.log10((output.float() - reference).norm() / reference.norm() + 1e-30)
    return {"seconds": median(times), "shares": shares, "apart": float(apart), "product": best_product(dtype)}


def gmac() -> float:
    """Billions of multiply-accumulates in one evaluation."""
    with torch.inference_mode(), Counter(network := BACKBONES["ncsnpp"]().eval()) as counter:
        network(torch.zeros(1, 4, 256, 256), torch.ones(1))
    return counter.macs / 1e9


def main() -> None:
    """Measure all forms in turn and print; with --form, measure one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--form", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.form:
        print(json.dumps(measure(options.form, repeats=3)))
        return
    forms = [PLAIN, "exdiff, fp32", *(["exdiff, bf16"] if precision() == torch.bfloat16 else [])]
    found: dict[str, list[dict[str, Any]]] = {form: [] for form in forms}
    for _ in range(options.rounds):
        for form in forms:
            command = [sys.executable, __file__, "--threads", str(options.threads), "--form", form]
            found[form].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    report(found, gmac(), options.threads)


def report(found: dict[str, list[dict[str, Any]]], macs: float, threads: int) -> None:
    """Print medians over the rounds."""
    middle = {form: median(run["seconds"] for run in runs) for form, runs in found.items()}
    print(f"{macs:.0f} GMAC for one evaluation of 256 x 256; {threads} threads; torch {torch.__version__}\n")
    print("| form | seconds | times as fast | output apart | GFLOP/s | of the best matrix product |")
    print("|---|---|---|---|---|---|")
    for form, value in middle.items():
        rate, product = 2 * macs / value, max(run["product"] for run in found[form])
        print(
            f"| {form} | {value:.2f} | {middle[PLAIN] / value:.2f} | {found[form][0]['apart']:.0f} dB | {rate:.0f} "
            f"| {rate / product:.0%} of {product:.0f} |"
        )
    print("\n| share of the time | " + " | ".join(found) + " |\n|---|" + "---|" * len(found))
    for kind in found[PLAIN][0]["shares"]:
        shares = (median(run["shares"][kind] for run in runs) for runs in found.values())
        print(f"| {kind} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
