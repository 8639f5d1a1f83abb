"""Checks of enhancing: the device agrees with the CPU and with itself, tensors stay there, files fill it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
from gpu_checks.setup import Failed, Result, Setup, deviation_db

import exdiff
from exdiff.cli.enhancing.jobs import run_in_processes
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import plan_tasks
from exdiff.cli.enhancing.readers import run_in_threads
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import Runner, marks_of, run_serially
from exdiff.core.machine import precision
from exdiff.inference.generation import Generation, Request

EXAMPLE = Path(__file__).parents[2] / "examples" / "speech" / "noisy" / "01_coffee_shop_5dB.flac"
LIMIT_DB = -60.0


def example(setup: Setup) -> tuple[np.ndarray, int]:
    """A noisy recording [T], and its rate in Hz."""
    audio, rate = soundfile.read(EXAMPLE, dtype="float32")
    return audio[: rate if setup.quick else None], rate


def against_cpu(setup: Setup, choice: str) -> float:
    """Deviation in dB of a precision on the device from float32 on the CPU."""
    audio, rate = example(setup)
    found, expected = (
        exdiff.load("speech", device=str(device), precision=own)(audio, rate)
        for device, own in ((setup.device, choice), ("cpu", "fp32"))
    )
    return deviation_db(torch.from_numpy(found), torch.from_numpy(expected))


def fp32(setup: Setup) -> Result:
    """As users have it, and on CUDA also without the TensorFloat-32 that cuDNN's convolutions use."""
    values = {"db": against_cpu(setup, "fp32")}
    text = f"{values['db']:.1f} dB from the CPU"
    if setup.cuda:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            values["without_tf32_db"] = against_cpu(setup, "fp32")
        text += f"; without TensorFloat-32 {values['without_tf32_db']:.1f} dB"
    if not values["db"] < LIMIT_DB:
        raise Failed(f"{text}; allowed is less than {LIMIT_DB:g} dB")
    return text, values


def bf16(setup: Setup) -> Result:
    """Reported only: it is rounding."""
    if setup.device.type != "cuda" and precision("auto", setup.device.type) != torch.bfloat16:
        return "not applicable: slow on this device", {}
    db = against_cpu(setup, "bf16")
    return f"{db:.1f} dB from the CPU in fp32", {"db": db}


def twice(setup: Setup) -> Result:
    """The same input gives the same bytes."""
    audio, rate = example(setup)
    enhancer = exdiff.load("speech", device=str(setup.device))
    first, second = (enhancer(audio, rate).tobytes() for _ in range(2))
    if first != second:
        raise Failed("two calls gave different bytes")
    return "the same bytes", {}


def tensors(setup: Setup) -> Result:
    """Tensors [B, C, T] stay where they are, and each item comes out as it does alone."""
    audio, rate = example(setup)
    batch = torch.from_numpy(np.stack([audio, audio[::-1]]))[:, None].to(setup.device)
    enhancer = exdiff.load("speech", device=str(setup.device), precision="fp32")
    result = enhancer(batch, rate)
    if (result.shape, result.dtype, result.device) != (batch.shape, batch.dtype, batch.device):
        raise Failed(f"{list(result.shape)} {result.dtype} came back on {result.device}")
    db = deviation_db(result[1], enhancer(batch[1], rate))
    if not db < LIMIT_DB:
        raise Failed(f"an item of a batch deviates by {db:.1f} dB from itself alone")
    return f"{list(result.shape)} stays on {result.device}; an item is {db:.1f} dB from itself alone", {"db": db}


def many_files(setup: Setup) -> Result:
    """A folder of clips of different lengths, and one file as long as all of them, through `exdiff enhance`."""
    count, seconds = setup.pick(cuda=(256, 3.0), cpu=(8, 3.0), quick=(4, 0.6))
    threads, loading = torch.get_num_threads(), shared_batches(setup)
    with tempfile.TemporaryDirectory() as folder:
        clips, rate = write_clips(Path(folder, "clips"), count, seconds)
        Path(folder, "long").mkdir()
        soundfile.write(Path(folder, "long", "0.flac"), np.concatenate(clips), rate)
        options = Options(loading=loading, overwrite=True)
        runner, room = Runner(options, None), room_samples(loading)

        def both() -> dict[str, dict[str, Any]]:
            return {name: enhance(Path(folder, name), runner, options, room) for name in ("clips", "long")}

        start = time.perf_counter()
        try:
            runs = both()
            if setup.cuda and time.perf_counter() - start < 0.15 * setup.seconds:
                runs = both()  # the first time, algorithms were chosen
        finally:
            torch.set_num_threads(threads)
    text = "; ".join(
        f"{name}: {found['audio_per_second']:.1f} s of audio a second, {found['calls']} calls of the model, "
        f"{found['occupancy']:.0%} full"
        for name, found in runs.items()
    )
    return f"{count} files of {0.67 * seconds:.1f} to {1.33 * seconds:.1f} s: {text}", runs


class Timed(Ledger):
    """Remembers when each file was done, and the seconds of audio in it."""

    def __init__(self) -> None:
        super().__init__(None, to_stdout=False, verbose=False)
        self.done: list[tuple[float, float]] = []

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        super().add(outcome)
        self.done.append((time.perf_counter(), outcome.record.get("duration", 0.0)))


def in_processes(setup: Setup) -> Result:
    """Many clips through `exdiff enhance --jobs`: their speed while all processes are at work, loading not counted."""
    jobs, count, seconds = setup.pick(cuda=(4, 2048, 3.0), cpu=(2, 24, 3.0), quick=(2, 4, 0.6))
    with tempfile.TemporaryDirectory() as folder, closing(Timed()) as ledger:
        write_clips(Path(folder, "clips"), count, seconds)
        options = Options(loading=shared_batches(setup), jobs=jobs)
        plan = plan_tasks([str(Path(folder, "clips"))], str(Path(folder, "out")), options)
        run_in_processes([(task, marks_of(task)) for task in plan.tasks], options, ledger)
    if ledger.counts[FAILED]:
        raise Failed(f"{ledger.counts[FAILED]} of {count} files failed; standard error says why")
    began = count // 2  # until then some of the processes load
    audio = sum(length for _, length in ledger.done[began:])
    speed = audio / (ledger.done[-1][0] - ledger.done[began - 1][0])
    return f"{jobs} processes: {speed:.1f} s of audio a second", {"jobs": jobs, "audio_per_second": speed}


def write_clips(folder: Path, count: int, seconds: float) -> tuple[list[np.ndarray], int]:
    """Files of two thirds to four thirds of `seconds`; their samples [T], and their rate in Hz."""
    audio, rate = soundfile.read(EXAMPLE, dtype="float32")
    folder.mkdir()
    lengths = np.linspace(0.67 * seconds, 1.33 * seconds, count)
    clips = [np.roll(audio, 1000 * i)[: round(rate * length)] for i, length in enumerate(lengths)]
    for i, clip in enumerate(clips):
        soundfile.write(folder / f"{i}.flac", clip, rate)
    return clips, rate


def shared_batches(setup: Setup) -> dict[str, Any]:
    """How the model is loaded: batches of one, which a CPU has by default, are not shared."""
    return {"device": str(setup.device)} | ({} if setup.cuda else {"batch_windows": 2})


def room_samples(loading: dict[str, Any]) -> float:
    """Samples that a batch holds."""
    enhancer = exdiff.load("speech", **loading)
    return enhancer.batch_windows * enhancer.segment_seconds * enhancer.model.sample_rate


def enhance(folder: Path, runner: Runner, options: Options, room: float) -> dict[str, Any]:
    """Enhance a folder as the command does; speed, calls of the model, and how full its batches were."""
    plan = plan_tasks([str(folder)], folder.with_name("out"), options)
    work = [(task, marks_of(task)) for task in plan.tasks]
    filled: list[float] = []
    compute = Generation.__call__

    def counted(self: Generation, requests: Sequence[Request]) -> Any:
        filled.append(sum(request.wave.shape[-1] for request in requests) / room)
        return compute(self, requests)

    audio = sum(soundfile.info(task.source).duration for task in plan.tasks)
    with (
        mock.patch.object(Generation, "__call__", counted),
        closing(Ledger(None, to_stdout=False, verbose=False)) as ledger,
    ):
        start = time.perf_counter()
        (run_in_threads if len(work) > 1 else run_serially)(work, runner, options, ledger)
        took = time.perf_counter() - start
    if ledger.counts[FAILED]:
        raise Failed(f"{ledger.counts[FAILED]} of {len(work)} files failed; standard error says why")
    return {"audio_per_second": audio / took, "calls": len(filled), "occupancy": sum(filled) / len(filled)}
