"""What a training step of the recipe `speech` takes: its speed, its LSTMs, its kernels, and that it never waits."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from unittest import mock

import torch
from gpu_checks.setup import Failed, Result, Setup
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from exdiff.core.recipe import Recipe
from exdiff.data.datasets import Synthetic
from exdiff.model.nn import fused_lstm
from exdiff.model.nn.sequences import LSTM
from exdiff.training import Options
from exdiff.training.batches import Batches
from exdiff.training.profile import BESIDE, PHASES
from exdiff.training.setup import build_data, compile_networks, new_state
from exdiff.training.step import train_step
from exdiff.training.world import join_world

COSINE = 0.99


def speech(setup: Setup, *overrides: str) -> tuple[Recipe, Options]:
    """The recipe `speech`, and its training section."""
    changes = [f"training.batch={setup.batch}", "training.mixer=device", "training.workers=0", *overrides]
    changes += ["training.segment_seconds=0.25"] * setup.quick
    clips = [f"data.manifest={setup.manifest}", "data.folders={}", "data.scores="]
    changes += clips if setup.manifest else ["data={type: synthetic}"]
    recipe = Recipe.load("speech", [*changes, *setup.overrides])
    return recipe, Options.of(recipe.training)


def synthetic(recipe: Recipe, options: Options) -> Synthetic:
    """Examples of the recipe's form that need no data."""
    return Synthetic(segment_seconds=options.segment_seconds, sample_rate=recipe.sample_rate, channels=recipe.channels)


class Repeated:
    """A data set whose batch was made before, so that a step is timed without its examples."""

    def __init__(self, source: Synthetic) -> None:
        self._source, self._made = source, (torch.empty(0), torch.empty(0))

    def on(self, device: torch.device) -> Repeated:
        """Examples on a device."""
        made = self._source.on(device).batch(range(4))
        self._made = made[0], made[1]
        return self

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The first four examples over and over."""
        times = -(-len(indices) // len(self._made[0]))
        clean, mixture = (t.repeat(times, 1, 1)[: len(indices)] for t in self._made)
        return clean, mixture


@contextmanager
def steps(
    setup: Setup, *, adversary: bool = True, clips: bool = False
) -> Iterator[tuple[Callable[[], object], Options]]:
    """A function that makes a step of `speech` and returns its losses."""
    recipe, options = speech(setup, f"training.adversary={str(adversary).lower()}")
    world = join_world(str(setup.device), options.precision, options.timeout_seconds)
    state, _ = new_state(recipe, options, world)
    if options.compile:
        compile_networks(state.model)
    source = build_data(recipe, options) if clips else Repeated(synthetic(recipe, options))
    chosen = torch.backends.cudnn.benchmark
    with closing(Batches(source, options, 0, world)) as batches:
        torch.backends.cudnn.benchmark = True
        try:
            yield lambda: train_step(state, next(batches), options.learning_rate, options, world), options
        finally:
            torch.backends.cudnn.benchmark = chosen


def speed(setup: Setup, *, adversary: bool, clips: bool = False) -> Result:
    """Steps and seconds of audio a second."""
    if clips and setup.manifest is None:
        return "not applicable: give --manifest", {}
    with steps(setup, adversary=adversary, clips=clips) as (step, options):
        each = setup.seconds_each(step, 0.1, warmups=setup.pick(cuda=4, cpu=1, quick=1))
    audio = options.batch * options.segment_seconds / each
    size = f"{options.batch} x {options.segment_seconds:g} s"
    text = f"{1 / each:.2f} steps a second of {size}, {audio:.1f} s of audio a second"
    return text, {"steps_per_second": 1 / each, "audio_per_second": audio, "batch": options.batch}


def fused(setup: Setup) -> Result:
    """The fused LSTM against cuDNN's: forwards and backwards, output and all gradients."""
    if not setup.cuda:
        return "not applicable: CUDA only", {}
    if not fused_lstm.works(128, setup.device):
        raise Failed("it does not work on this device; the warning says why")
    torch.manual_seed(0)
    layer = LSTM(128, 128).to(setup.device)
    rows = torch.randn(80 * setup.batch, 64, 128, device=setup.device, requires_grad=True)
    slope = torch.randn(80 * setup.batch, 64, 256, device=setup.device, dtype=torch.bfloat16)

    def once() -> list[Tensor]:
        out = layer.in_bfloat16(rows)
        return [out, *torch.autograd.grad(out, [rows, *layer.parameters()], slope)]

    ours, fast = once(), setup.seconds_each(once, 0.03)
    with mock.patch.object(fused_lstm, "works", return_value=False):
        theirs, slow = once(), setup.seconds_each(once, 0.03)
    pairs = [[t.detach().flatten().float() for t in pair] for pair in zip(ours, theirs, strict=True)]
    least = min(float(torch.cosine_similarity(a, b, 0)) for a, b in pairs)
    text = f"{slow / fast:.2f} times as fast ({1000 * fast:.2f} ms), least cosine {least:.5f}"
    if not least > COSINE:
        raise Failed(f"{text}; allowed is more than {COSINE:g}")
    return text, {"ratio": slow / fast, "milliseconds": 1000 * fast, "cosine": least}


def never_waits(setup: Setup) -> Result:
    """A step with discriminators, and taking its batch, make no call that waits for the device."""
    if not setup.cuda:
        return "not applicable: CUDA only", {}
    with steps(setup, clips=setup.manifest is not None) as (step, _), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this mode is a prototype, says torch
        for _ in range(3):
            step()
        setup.wait()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
            step()  # takes the batch that was made meanwhile, or what that raised
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return "none in two steps with discriminators", {}


def where(setup: Setup) -> Result:
    """The ten kernels, or operators of a CPU, that take most of a step with discriminators."""
    count = setup.pick(cuda=5, cpu=1, quick=1)
    with steps(setup) as (step, _):
        for _ in range(3 if setup.cuda else 1):
            step()
        setup.wait()
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setup.cuda else [])]
        with profile(activities=kinds, acc_events=True) as run:  # or some versions warn
            start = time.perf_counter()
            for _ in range(count):
                step()
            setup.wait()
            took = 1000 * (time.perf_counter() - start) / count
    kind, of = ("CUDA", "self_device_time_total") if setup.cuda else ("CPU", "self_cpu_time_total")
    spent = {
        event.key: getattr(event, of) / 1000 / count
        for event in run.key_averages()
        if event.device_type.name == kind and not event.is_user_annotation and event.key not in (*PHASES, BESIDE)
    }
    total = sum(spent.values())
    largest = sorted(spent.items(), key=lambda item: -item[1])[:10]
    text = f"{total:.1f} ms of kernels in a step of {took:.1f} ms; ten take {sum(ms for _, ms in largest) / total:.0%}"
    kernels = [{"name": name, "milliseconds": ms, "share": ms / total} for name, ms in largest]
    return text, {"step_milliseconds": took, "kernel_milliseconds": total, "kernels": kernels}
