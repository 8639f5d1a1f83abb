"""The training loop: plain, resumable to the bit, and honest about where its time goes.

One step: a batch of mixtures, `model.loss`, backward, clip, optimiser, EMA (step.py). Examples and their noise are a
function of (seed, index): a step is the same whatever it is divided over (batches.py). Several processes run this loop
side by side (ranks.py); the first writes. Stages are recipes: the extractor alone, then diffusion upon it (`init`).
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from exdiff import checkpoint
from exdiff.adversary import Adversary
from exdiff.config import Recipe, build
from exdiff.data import DATASETS
from exdiff.errors import ConfigError, ExDiffError, TrainingError
from exdiff.model import ExDiff
from exdiff.optimiser import make_optimiser
from exdiff.progress import track
from exdiff.training.batches import Batches
from exdiff.training.board import Board
from exdiff.training.log import Log, Means
from exdiff.training.options import Options
from exdiff.training.profile import profiling
from exdiff.training.ranks import Ranks, differs, join
from exdiff.training.schedule import due, learning_rate
from exdiff.training.state import STATE, State, holds_run, newest, restore, save
from exdiff.training.step import learn
from exdiff.training.stop import Stop
from exdiff.training.validation import validate


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    device: str = "auto",
    profile: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> State:
    """Train `recipe` into the folder `out`: log.jsonl, state.pt (to resume), model/ (EMA weights and recipe).

    Args:
        recipe: what to train.
        out: folder of the run, seen by all processes.
        resume: go on from the newest whole state there, if there is one.
        max_minutes: end, saved, after so many.
        device: "auto", "cpu", "cuda" or "mps".
        profile: write where the time of some steps goes to profile.txt.
        report: is told, in the first process, what happens.

    Raises:
        ConfigError: a bad recipe, or `out` holds a run and `resume` is not set.
        CheckpointError: the run to resume is damaged or was made by another recipe, or it cannot be saved.
        DataError: the recipe's data are missing.
        TrainingError: another process of the run is gone.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step at hand is done and saved.
    """
    options = Options.of(recipe.training)
    ranks = join(device, options.precision, options.timeout_seconds)
    options.check_parts(ranks.count)
    resuming = holds_run(out)
    if resuming and not resume:
        raise ConfigError(f"{out} holds a run already; continue it with --resume, or name another folder")
    out.mkdir(parents=True, exist_ok=True)
    report = report if ranks.main else lambda line: None
    log = Log(out / "log.jsonl" if ranks.main else None)
    if resume and not resuming:
        report(f"{out} holds no state to resume: beginning anew")
    state = _resumed(recipe, options, ranks, out, log, report) if resuming else _fresh(recipe, options, ranks, log)
    if options.compile:
        # Of an extractor its body: inductor leaves the complex numbers around it as they are, and complains.
        for part in (state.model.backbone, getattr(state.model.extractor, "body", None)):
            if isinstance(part, nn.Module):
                part.compile()
    source = ranks.in_turn(lambda: _source(recipe, options))
    board = Board(out, state.step) if options.tensorboard and ranks.main else None
    with Stop() as stop, profiling(out if profile and ranks.main else None, report) as tick:
        run = _Run(state, recipe, options, ranks, source, out, log, board, report)
        run.saved = (state.step, state.validated) if resuming else None
        run.until_done(max_minutes, stop, tick)
    if board is not None:
        board.close()
    ranks.leave()
    if stop.agreed:
        raise KeyboardInterrupt
    return state


def _fresh(recipe: Recipe, options: Options, ranks: Ranks, log: Log) -> State:
    """Everything as it is before the first step."""
    torch.manual_seed(options.seed)
    model = checkpoint.build_model(recipe)
    sources = [options.init] if isinstance(options.init, str) else options.init or []
    copied = {name for source in sources for name in checkpoint.load_matching(model, source)}
    state = _around(model, options, ranks)
    _check_agreement(ranks, state, recipe)
    log.cut(-1)
    if copied:
        log.write({"init": options.init, "copied": len(copied), "fresh": len(model.state_dict()) - len(copied)})
    return state


def _resumed(
    recipe: Recipe, options: Options, ranks: Ranks, out: Path, log: Log, report: Callable[[str], None]
) -> State:
    """Everything as it was when the newest whole state was saved."""
    state = _around(checkpoint.build_model(recipe), options, ranks)
    path, saved, remark = newest(out)
    restore(state, saved, path)
    _check_agreement(ranks, state, recipe)
    if ranks.main and path.name != STATE:
        path.replace(out / STATE)  # a damaged one must not become the one before
    log.cut(state.step, state.validated)
    report(remark or f"going on from step {state.step}")
    return state


def _around(model: ExDiff, options: Options, ranks: Ranks) -> State:
    """What training puts around a model."""
    if model.extractor is not None and not model.extractor_learns:
        model.extractor.requires_grad_(False)
    model.to(ranks.device)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=False)
    state = State(model, ema, make_optimiser(options.optimiser, model.parameters(), options.learning_rate))
    state.adversary = Adversary(average=ranks.average).to(ranks.device) if options.adversary else None
    return state


def _source(recipe: Recipe, options: Options) -> Any:
    context = {"seed": options.seed, "segment_seconds": options.segment_seconds, "sample_rate": recipe.sample_rate}
    return build(DATASETS, recipe.data, **context)


def _check_agreement(ranks: Ranks, state: State, recipe: Recipe) -> None:
    if differs(ranks, zlib.crc32(json.dumps(recipe.to_dict(), sort_keys=True).encode())):
        raise ConfigError("the processes of this run have different recipes or overrides; start all with the same")
    if differs(ranks, state.step):
        raise ConfigError("the processes of this run resume at different steps; --out must be one folder for all")


@dataclass
class _Run:
    """A run on its way; times are seconds since it began, on the clock of the first process."""

    state: State
    recipe: Recipe
    options: Options
    ranks: Ranks
    source: Any
    out: Path
    log: Log
    board: Board | None
    report: Callable[[str], None]
    saved: tuple[int, int] | None = None  # step, and whether it was validated, of what is on the disk
    saved_at: float = 0.0
    validated_at: float = 0.0
    start: float = field(default_factory=time.monotonic)

    def until_done(self, max_minutes: float | None, stop: Stop, tick: Callable[[], None]) -> None:
        """Train, validate and save, whatever ends it."""
        try:
            with closing(Batches(self.source, self.options, self.state.step, self.ranks)) as batches:
                self._steps(batches, max_minutes, stop, tick)
            if not stop.agreed and self.state.validated != self.state.step:
                self._validate()
        except ExDiffError:  # these are raised between two updates: nothing is half done
            self._save()
            raise
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(f"the making of examples failed, go on with --resume: {str(error).strip()}") from None
        self._save()
        if stop.agreed:
            self.report(f"stopped after step {self.state.step} and saved; go on with --resume")

    def _steps(self, batches: Batches, max_minutes: float | None, stop: Stop, tick: Callable[[], None]) -> None:
        state, options = self.state, self.options
        left = range(state.step, options.steps)
        for _ in track(left, "training") if self.ranks.main else left:
            began = time.monotonic()
            with record_function("data"):
                parts = next(batches)
            now, waited = self._agree(began - self.start, stop, time.monotonic() - began)
            if stop.agreed or (max_minutes is not None and now >= 60 * max_minutes):
                return
            rate = learning_rate(options, state.step, now / 60, max_minutes)
            losses = learn(state, parts, rate, options, self.ranks)
            seconds = time.monotonic() - began
            self._note(losses, rate, waited, seconds)
            tick()
            if state.step < options.steps:  # both follow after the last one
                if due(state.step, options.validate_steps, now - self.validated_at, options.validate_minutes):
                    self._validate()
                    self.validated_at = now
                if due(state.step, options.save_steps, now - self.saved_at, options.save_minutes):
                    self._save()
                    self.saved_at = now

    def _agree(self, now: float, stop: Stop, waited: float) -> tuple[float, float]:
        """The first process's clock and the mean wait; all stop if any was asked to."""
        message = torch.tensor([now * self.ranks.main, stop.asked, waited], dtype=torch.float64)
        self.ranks.average([message])
        stop.agreed = bool(message[1] > 0)  # a signal that comes right now is heard at the next step
        return float(message[0]) * self.ranks.count, float(message[2])

    def _note(self, losses: dict[str, float], rate: float, waited: float, seconds: float) -> None:
        state, options = self.state, self.options
        state.seconds += seconds
        state.means.add(losses, waited, seconds)
        if state.step % options.log_every == 0:
            line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "learning_rate": rate}
            line |= state.means.line(options)
            state.means = Means()
            self.log.write(line)
            if self.board is not None:
                self.board.numbers("train", line, state.step)

    def _validate(self) -> None:
        scores, heard = validate(self.state.ema.module, self.recipe, self.source, self.options, self.ranks)
        self.state.validated = self.state.step
        self.log.write({"step": self.state.step, "validation": scores})
        self.report(f"step {self.state.step}: " + ", ".join(f"{k} {v:.2f}" for k, v in scores.items()))
        if self.board is not None:
            self.board.numbers("validation", scores, self.state.step)
            self.board.examples(heard, self.recipe, self.state.step)

    def _save(self) -> None:
        mark = (self.state.step, self.state.validated)
        if self.ranks.main and self.saved != mark:
            save(self.state, self.recipe, self.out)
            if self.saved is None or self.saved[0] != self.state.step:
                self.log.write({"step": self.state.step, "saved": STATE})
        self.saved = mark
