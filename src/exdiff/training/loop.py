"""The training loop, which resumes bit-exactly (on a CPU) and logs where its time goes.

One step is a batch of mixtures (batches.py), the objective, backward, clipping, optimiser and EMA (step.py). Examples
and their noise are functions of (seed, index), so a step is the same however it is divided. Several processes run this
loop side by side (world.py); the first one writes. Stages are recipes: first the extractor alone, then the diffusion
model on top of it (`training.init`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import record_function

from exdiff.core.errors import ConfigError, ExDiffError, TrainingError
from exdiff.core.progress import track
from exdiff.core.recipe import Recipe
from exdiff.training.batches import Batches
from exdiff.training.log import Log, RunningMeans
from exdiff.training.options import Options
from exdiff.training.profile import profiling
from exdiff.training.saving import Saver
from exdiff.training.schedule import due, learning_rate
from exdiff.training.setup import build_data, compile_networks, new_state, resumed_state
from exdiff.training.state import STATE, State, holds_run
from exdiff.training.step import train_step
from exdiff.training.stop import Stop
from exdiff.training.tensorboard import TensorBoard
from exdiff.training.validation import validate
from exdiff.training.world import World, join_world


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
        out: folder of the run, shared by all processes.
        resume: continue from the newest intact state there, if there is one.
        max_minutes: stop, saved, after this many minutes.
        device: "auto", "cpu", "cuda" or "mps".
        profile: write how the time of some steps is spent to profile.txt.
        report: called with lines about the progress, in the first process only.

    Raises:
        ConfigError: a bad recipe, or `out` holds a run and `resume` is not set.
        CheckpointError: the run to resume is damaged or was made by another recipe, or it cannot be saved.
        DataError: the recipe's data are missing.
        TrainingError: another process of the run is gone.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the current step is finished and saved.
    """
    options = Options.of(recipe.training)
    world = join_world(device, options.precision, options.timeout_seconds)
    options.check_batch(world.size)
    resuming = holds_run(out)
    if resuming and not resume:
        raise ConfigError(f"{out} holds a run already; continue it with --resume, or name another folder")
    report = report if world.main else lambda line: None
    log = Log(out / "log.jsonl" if world.main else None)
    if resume and not resuming:
        report(f"{out} holds no state to resume: starting from the beginning")
    if resuming:
        state, start = resumed_state(recipe, options, world, out, log, report), None
    else:
        state, start = new_state(recipe, options, world)
    if options.compile:
        compile_networks(state.model)
    source = world.local_main_first(lambda: build_data(recipe, options))
    board = TensorBoard(out, state.step) if options.tensorboard and world.main else None
    out.mkdir(parents=True, exist_ok=True)  # not before: a run that is refused leaves nothing behind
    if not resuming:
        log.truncate(-1)
    if start is not None:
        log.write(start)
    with (
        Stop() as stop,
        profiling(out if profile and world.main else None, report) as tick,
        closing(Saver(recipe, out)) as saver,
        _choosing_convolutions(True),
    ):
        run = _Run(state, recipe, options, world, source, saver, log, board, report)
        run.saved = (state.step, state.validated) if resuming else None
        run.until_done(max_minutes, stop, tick)
    if board is not None:
        board.close()
    world.leave()
    if stop.agreed_by_all:
        raise KeyboardInterrupt
    return state


@dataclass
class _Run:
    """A run in progress; times are in seconds since it began, on the clock of the first process."""

    state: State
    recipe: Recipe
    options: Options
    world: World
    source: Any
    saver: Saver
    log: Log
    board: TensorBoard | None
    report: Callable[[str], None]
    saved: tuple[int, int] | None = None  # step, and step of the last validation, of the state on the disk
    saved_at: float = 0.0
    validated_at: float = 0.0
    start: float = field(default_factory=time.monotonic)

    def until_done(self, max_minutes: float | None, stop: Stop, tick: Callable[[], None]) -> None:
        """Train, validate, and save however the run ends."""
        try:
            with closing(Batches(self.source, self.options, self.state.step, self.world)) as batches:
                self._steps(batches, max_minutes, stop, tick)
            if not stop.agreed_by_all and self.state.validated != self.state.step:
                self._validate()
        except ExDiffError:  # raised between two updates, so the state is consistent
            self._save()
            self.saver.wait()
            raise
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(f"making examples failed, go on with --resume: {str(error).strip()}") from None
        self._save()
        self.saver.wait()
        if stop.agreed_by_all:
            self.report(f"stopped after step {self.state.step} and saved; go on with --resume")

    def _steps(self, batches: Batches, max_minutes: float | None, stop: Stop, tick: Callable[[], None]) -> None:
        state, options = self.state, self.options
        remaining = range(state.step, options.steps)
        for _ in track(remaining, "training") if self.world.main else remaining:
            began = time.monotonic()
            with record_function("data"):
                batch = next(batches)
            now, waited = self._synchronise(began - self.start, stop, time.monotonic() - began)
            if stop.agreed_by_all or (max_minutes is not None and now >= 60 * max_minutes):
                return
            self.saver.check()
            rate = learning_rate(options, state.step, now / 60, max_minutes)
            state.means.add(train_step(state, batch, rate, options, self.world), waited)
            self._log_step(rate, began)
            tick()
            if state.step < options.steps:  # after the last step, `until_done` does both
                if due(state.step, options.validate_steps, now - self.validated_at, options.validate_minutes):
                    self._validate()
                    self.validated_at = now
                if due(state.step, options.save_steps, now - self.saved_at, options.save_minutes):
                    self._save()
                    self.saved_at = now

    def _synchronise(self, now: float, stop: Stop, waited: float) -> tuple[float, float]:
        """The first process's clock and the mean wait; a stop requested in one process is agreed by all."""
        message = torch.tensor([now * self.world.main, stop.requested, waited], dtype=torch.float64)
        self.world.average([message])
        stop.agreed_by_all = bool(message[1] > 0)  # a signal that arrives after this counts at the next step
        return float(message[0]) * self.world.size, float(message[2])

    def _log_step(self, rate: float, began: float) -> None:
        state, options = self.state, self.options
        is_due = state.step % options.log_every == 0
        if is_due:
            state.means.read()  # a GPU may be steps behind; their time is part of this line's
        seconds = time.monotonic() - began
        state.seconds += seconds
        state.means.seconds += seconds
        if is_due:
            line = {"step": state.step, "minutes": round(state.seconds / 60, 2), "learning_rate": rate}
            line |= state.means.line(options)
            state.means = RunningMeans()
            self.log.write(line)
            if self.board is not None:
                self.board.scalars("train", line, state.step)

    def _validate(self) -> None:
        try:
            with _choosing_convolutions(False):
                scores, examples = validate(self.state.ema.module, self.recipe, self.source, self.options, self.world)
            self.state.validated = self.state.step
            self.log.write({"step": self.state.step, "validation": scores})
            text = ", ".join(f"{k} {v:.2f}" for k, v in scores.items())
            self.report(f"step {self.state.step}: {text or 'no validation example'}")
            if self.board is not None:
                self.board.scalars("validation", scores, self.state.step)
                self.board.examples(examples, self.recipe, self.state.step)
        except Exception:  # no step is half done here, so what was learned since the last save can be kept
            self._save()
            self.saver.wait()
            raise

    def _save(self) -> None:
        mark = (self.state.step, self.state.validated)
        if self.world.main and self.saved != mark:
            line = {"step": self.state.step, "saved": STATE}
            is_new = self.saved is None or self.saved[0] != self.state.step
            self.saver.save(self.state, lambda: self.log.write(line) if is_new else None)
        self.saved = mark


@contextmanager
def _choosing_convolutions(on: bool) -> Iterator[None]:
    """Whether cuDNN tries its algorithms for every new shape of a convolution: in training there are few shapes."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
