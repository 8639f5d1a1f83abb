"""The training loop: plain, resumable to the bit, and honest about where its time goes.

One step: a batch of mixtures, `model.loss`, backward, clip, optimiser, EMA. Examples are a function of (seed, index),
and each step draws its noise from a generator seeded by the step, so that resuming needs nothing beyond the state.
Stages are recipes: the extractor alone, then diffusion on top of it (`init`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from exdiff import checkpoint
from exdiff.adversary import Adversary
from exdiff.config import Recipe, build
from exdiff.data import DATASETS
from exdiff.errors import ConfigError
from exdiff.machine import precision
from exdiff.optimiser import grad_norm, make_optimiser
from exdiff.training.log import Log
from exdiff.training.options import Options
from exdiff.training.state import State, restore, save
from exdiff.training.validation import validate


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
    options = Options.of(recipe.training)
    resuming = (out / "state.pt").is_file()
    if resuming and not resume:
        raise ConfigError(f"{out} holds a run already; continue it with --resume, or name another folder")
    torch.manual_seed(options.seed)
    model = checkpoint.build_model(recipe)
    copied = checkpoint.load_matching(model, options.init) if options.init and not resuming else []
    if model.extractor is not None and not model.extractor_learns:
        model.extractor.requires_grad_(False)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=False)
    state = State(model, ema, make_optimiser(options.optimiser, model.parameters(), options.learning_rate))
    state.adversary = Adversary() if options.adversary else None
    out.mkdir(parents=True, exist_ok=True)
    if resuming:
        restore(state, out / "state.pt")
    elif copied:
        Log(out / "log.jsonl", options).write(
            {"init": options.init, "copied": len(copied), "fresh": len(model.state_dict()) - len(copied)}
        )
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
    start = saved = validated = time.monotonic()
    log = Log(out / "log.jsonl", options)
    batches = _batches(source, options, state.step)
    try:
        while state.step < options.steps:
            began = time.monotonic()
            if max_minutes is not None and began - start >= 60 * max_minutes:
                break
            clean, mixture = next(batches)
            waited = time.monotonic() - began
            rate = _rate(options, state.step, (began - start) / 60, max_minutes)
            losses = _step(state, clean, mixture, rate, options, dtype)
            seconds = time.monotonic() - began
            state.seconds += seconds
            log.add(state, losses, rate, waited, seconds)
            if time.monotonic() - saved > 60 * options.save_minutes:
                save(state, recipe, out)
                saved = time.monotonic()
            if time.monotonic() - validated > 60 * options.validate_minutes:
                log.write({"step": state.step, "validation": validate(state, recipe, source, options)})
                validated = time.monotonic()
        log.write({"step": state.step, "validation": validate(state, recipe, source, options)})
    finally:  # an interrupted run loses nothing
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
