"""The training loop: plain, resumable to the bit, and honest about where its time goes.

One step: a batch of mixtures, `model.loss`, backward, clip, optimiser, EMA. The state is one dataclass; examples are a
function of (seed, index), and each step draws its noise from a generator seeded by the step, so that resuming needs
nothing beyond the checkpoint. Stages are recipes: the extractor alone, then diffusion on top of it (`init`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from exdiff import checkpoint
from exdiff.adversary import Adversary
from exdiff.config import Recipe, build, nearest
from exdiff.data import DATASETS
from exdiff.errors import CheckpointError, ConfigError
from exdiff.machine import precision
from exdiff.model import ExDiff
from exdiff.optimiser import Optimiser, grad_norm, make_optimiser


@dataclass(frozen=True)
class Options:
    """The `training` section of a recipe."""

    steps: int = 20000
    batch: int = 6
    segment_seconds: float = 2.0
    optimiser: str = "muon"
    learning_rate: float = 2e-3
    warmup: int = 200  # steps
    decay_share: float = 0.3  # of the run, at its end, over which the rate falls linearly to zero
    decay_minutes: float = 0.0  # if set, decay over the last minutes of --max-minutes instead
    ema: float = 0.999
    clip: float = 5.0
    seed: int = 0
    precision: str = "auto"
    workers: int = 1
    log_every: int = 20
    save_minutes: float = 4.0
    adversary: bool = False  # discriminators judge the denoised estimates (adversary.py)
    init: str | None = None  # checkpoint whose weights to start from, where names and shapes fit


@dataclass
class State:
    """Everything alive in a run."""

    model: ExDiff
    ema: AveragedModel
    optimiser: Optimiser
    adversary: Adversary | None = None
    step: int = 0
    seconds: float = 0.0  # of training, over all resumptions


class _Examples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean, mixture = self.source[index]
        return torch.from_numpy(clean)[None], torch.from_numpy(mixture)[None]


def train(recipe: Recipe, out: Path, *, resume: bool = False, max_minutes: float | None = None) -> State:
    """Train `recipe` into the folder `out`: log.jsonl, state.pt (to resume), model/ (EMA weights and recipe).

    Raises:
        ConfigError: a bad recipe, or `out` holds a run and `resume` is not set.
        CheckpointError: the run to resume is damaged or was made by another recipe.
        DataError: the recipe's data are missing.
    """
    options = _options(recipe)
    resuming = (out / "state.pt").is_file()
    if resuming and not resume:
        raise ConfigError(f"{out} holds a run already; continue it with --resume, or name another folder")
    torch.manual_seed(options.seed)
    model = checkpoint.build_model(recipe)
    if options.init and not resuming:
        checkpoint.load_matching(model, options.init)
    if model.extractor is not None and not model.extractor_learns:
        model.extractor.requires_grad_(False)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=False)
    state = State(model, ema, make_optimiser(options.optimiser, model.parameters(), options.learning_rate))
    state.adversary = Adversary() if options.adversary else None
    out.mkdir(parents=True, exist_ok=True)
    if resuming:
        _restore(state, out / "state.pt")
    _run(state, recipe, options, out, max_minutes)
    return state


def _run(state: State, recipe: Recipe, options: Options, out: Path, max_minutes: float | None) -> None:
    dtype = precision(options.precision)
    source = build(
        DATASETS,
        recipe.data,
        seed=options.seed,
        segment_seconds=options.segment_seconds,
        sample_rate=recipe.sample_rate,
    )
    start, saved = time.monotonic(), time.monotonic()
    log = Log(out / "log.jsonl", options)
    batches = _batches(source, options, state.step)
    while state.step < options.steps:
        elapsed = (time.monotonic() - start) / 60
        if max_minutes is not None and elapsed >= max_minutes:
            break
        began = time.monotonic()
        clean, mixture = next(batches)
        waited = time.monotonic() - began
        rate = _rate(options, state.step, elapsed, max_minutes)
        losses = _step(state, clean, mixture, rate, options, dtype)
        seconds = time.monotonic() - began
        state.seconds += seconds
        log.add(state, losses, rate, waited, seconds)
        if time.monotonic() - saved > 60 * options.save_minutes:
            save(state, recipe, out)
            saved = time.monotonic()
    save(state, recipe, out)


def _step(
    state: State, clean: Tensor, mixture: Tensor, rate: float, options: Options, dtype: torch.dtype
) -> dict[str, float]:
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + state.step)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        losses = state.model.loss(clean, mixture, generator, state.adversary)
    losses["loss"].backward()
    norm = grad_norm(state.model.parameters(), options.clip)
    if torch.isfinite(norm):  # one bad batch must not end a night's run
        state.optimiser.step()
        state.ema.update_parameters(state.model)
        if state.adversary is not None:
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                losses["adversary"] = state.adversary.learn()
    state.optimiser.zero_grad()
    state.step += 1
    return {k: float(v.detach()) for k, v in losses.items()} | {"grad_norm": float(norm)}


def _rate(options: Options, step: int, minutes: float, max_minutes: float | None) -> float:
    """Warm-up, constant, then a linear fall to zero."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    if options.decay_minutes and max_minutes is not None:
        left = (max_minutes - minutes) / options.decay_minutes
    else:
        left = (options.steps - step) / max(1.0, options.decay_share * options.steps)
    return options.learning_rate * warm * min(1.0, max(left, 0.01))


def _batches(source: Any, options: Options, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    loader = DataLoader(
        _Examples(source),
        batch_size=options.batch,
        sampler=range(step * options.batch, options.steps * options.batch),
        num_workers=options.workers,
        prefetch_factor=8 if options.workers else None,
    )
    return iter(loader)


class Log:
    """JSON lines: means since the last line, rate, throughput, share of the time spent waiting for data.

    Steps that were not finite are left out of the means and counted as `skipped`.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self._path, self._options = path, options
        self._sums: dict[str, float] = {}
        self._count, self._skipped, self._waited, self._seconds = 0, 0, 0.0, 0.0

    def add(self, state: State, losses: dict[str, float], rate: float, waited: float, seconds: float) -> None:
        """Take up one step; every `log_every` steps a line is written."""
        if all(math.isfinite(value) for value in losses.values()):
            for key, value in losses.items():
                self._sums[key] = self._sums.get(key, 0.0) + value
        else:
            self._skipped += 1
        self._count, self._waited, self._seconds = self._count + 1, self._waited + waited, self._seconds + seconds
        if state.step % self._options.log_every:
            return
        audio = self._count * self._options.batch * self._options.segment_seconds
        line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "learning_rate": rate}
        line |= {k: round(v / (self._count - self._skipped), 5) for k, v in self._sums.items()}
        line |= {"skipped": self._skipped} if self._skipped else {}
        line |= {"audio_per_second": round(audio / self._seconds, 2), "waiting": round(self._waited / self._seconds, 4)}
        self.write(line)
        self._sums, self._count, self._skipped, self._waited, self._seconds = {}, 0, 0, 0.0, 0.0

    def write(self, line: dict[str, Any]) -> None:
        """Append one line to the file."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


def save(state: State, recipe: Recipe, out: Path) -> None:
    """Write the resumable state and the EMA model, each under a temporary name first."""
    temporary = out / "state.pt.tmp"
    torch.save(
        {
            "model": state.model.state_dict(),
            "ema": state.ema.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "adversary": state.adversary and state.adversary.progress(),
            "step": state.step,
            "seconds": state.seconds,
        },
        temporary,
    )
    temporary.replace(out / "state.pt")
    checkpoint.save_model(state.ema.module, recipe, out / "model")


def _restore(state: State, path: Path) -> None:
    saved = checkpoint.load_state(path)
    try:
        state.model.load_state_dict(saved["model"])
        state.ema.load_state_dict(saved["ema"])
        state.optimiser.load_state_dict(saved["optimiser"])
        if state.adversary is not None:
            state.adversary.restore(saved["adversary"])
        state.step, state.seconds = saved["step"], saved["seconds"]
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason, remedy = " ".join(str(error).split())[:200], "resume with the recipe that began the run"
        raise CheckpointError(f"{path} does not fit the recipe ({reason}); {remedy}") from None


def _options(recipe: Recipe) -> Options:
    known = Options.__dataclass_fields__
    for key in recipe.training:
        if key not in known:
            raise ConfigError(f"training: unknown key {key!r}{nearest(key, known)}")
    return Options(**recipe.training)
