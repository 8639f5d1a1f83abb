"""Checks of training: it learns, resumes, and gets the same examples from the device as from the host."""

from __future__ import annotations

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_checks.setup import Failed, Result, Setup, deviation_db
from gpu_checks.speed import speech, synthetic

from exdiff.core.recipe import Recipe
from exdiff.training import Options, train
from exdiff.training.setup import build_data
from exdiff.training.state import PREVIOUS, STATE

QUIETLY = ["training.validate_examples=0", "training.validate_steps=0", "training.workers=0", "training.save_steps=0"]
RESUMED = 1e-3  # relative difference of weights that CUDA's sums in any order explain after a few steps
MIXED_DB = -60.0


def debug(setup: Setup, *overrides: str) -> Recipe:
    """The recipe `debug`, as long as there is time for."""
    size = setup.pick(cuda=(45, 4, 0.5), cpu=(18, 2, 0.25), quick=(9, 2, 0.1))
    changes = [
        f"training.{key}={value}" for key, value in zip(("steps", "batch", "segment_seconds"), size, strict=True)
    ]
    return Recipe.load("debug", [*QUIETLY, *changes, f"training.log_every={size[0] // 3}", *overrides])


def learns(setup: Setup, adversary: bool) -> Result:
    """A few steps of `debug`: the loss of the last third of them is finite and below that of the first."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        recipe = debug(setup, f"training.adversary={str(adversary).lower()}")
        state = train(recipe, Path(folder, "run"), device=str(setup.device))
        took = time.perf_counter() - start
        lines = [json.loads(line) for line in Path(folder, "run", "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    text = f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {state.step} steps, {took:.1f} s with saving"
    if not all(map(math.isfinite, losses)) or losses[-1] >= losses[0] or any("skipped" in line for line in lines):
        raise Failed(text)
    return text, {"losses": losses, "steps": state.step, "seconds": took}


def resumes(setup: Setup) -> Result:
    """A run that is continued from its middle ends with the weights of the run that was not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = debug(setup, "training.steps=6", "training.save_steps=3", "training.adversary=true")
        whole = train(recipe, folder / "whole", device=str(setup.device)).model.state_dict()
        (folder / "cut").mkdir()
        (folder / "whole" / PREVIOUS).rename(folder / "cut" / STATE)
        reports: list[str] = []
        cut = train(recipe, folder / "cut", resume=True, device=str(setup.device), report=reports.append)
    if "going on from step 3" not in reports:
        raise Failed(f"it did not go on from step 3: {'; '.join(reports)}")
    a, b = (torch.cat([t.flatten().double().cpu() for t in w.values()]) for w in (cut.model.state_dict(), whole))
    difference = float((a - b).norm() / b.norm())
    allowed = 0.0 if setup.device.type == "cpu" else RESUMED
    text = f"weights differ by {difference:.1e} of their norm after 3 of 6 steps; allowed is {allowed:g}"
    if not difference <= allowed:
        raise Failed(text)
    return text, {"difference": difference, "allowed": allowed}


def mixes(setup: Setup, source: Any, options: Options) -> Result:
    """Examples made one by one on the host, and as a batch on the device."""
    indices = list(range(setup.pick(cuda=64, cpu=8, quick=2)))
    made = source.on(setup.device)
    start = time.perf_counter()
    host = torch.from_numpy(np.stack([np.stack(source[i]) for i in indices], axis=1))  # [2, B, T or C, T]
    one = (time.perf_counter() - start) / len(indices)
    batch = torch.stack(made.batch(indices))  # [2, B, C, T]
    if batch.device != made.batch(indices[:1])[0].device or batch.device.type != setup.device.type:
        raise Failed(f"the batch is on {batch.device}")
    db = [deviation_db(a, b) for a, b in zip(batch[1], host[1].reshape(batch[1].shape), strict=True)]
    together = setup.seconds_each(lambda: made.batch(indices), 0.02) / len(indices)
    speeds = [options.segment_seconds / seconds for seconds in (one, together)]
    text = (
        f"{np.median(db):.0f} dB apart (worst {max(db):.0f}); s of audio a second: "
        f"host {speeds[0]:.0f} in one thread, device {speeds[1]:.0f}"
    )
    if not np.median(db) < MIXED_DB:
        raise Failed(f"{text}; allowed is less than {MIXED_DB:g} dB")
    return text, {"db": db, "host_audio_per_second": speeds[0], "device_audio_per_second": speeds[1]}


def mixes_synthetic(setup: Setup) -> Result:
    """The data set `synthetic`."""
    recipe, options = speech(setup)
    return mixes(setup, synthetic(recipe, options), options)


def mixes_clips(setup: Setup) -> Result:
    """The data set `mix`, if there are clips."""
    if setup.manifest is None:
        return "not applicable: give --manifest", {}
    recipe, options = speech(setup)
    return mixes(setup, build_data(recipe, options), options)
