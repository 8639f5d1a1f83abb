"""Everything alive in a run, and how it is saved and restored.

There is always a whole state on the disk: a new one is written beside it, read back and only then given its name, and
the one before is kept. `state.pt` is a zip archive of tensors and plain values with a checksum for each, and nothing in
it is ever executed.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from exdiff import checkpoint
from exdiff.adversary import Adversary
from exdiff.config import Recipe
from exdiff.errors import CheckpointError
from exdiff.model import ExDiff
from exdiff.optimiser import Optimiser
from exdiff.training.log import Means

STATE, TEMPORARY, PREVIOUS = "state.pt", "state.pt.tmp", "state.previous.pt"


@dataclass
class State:
    """Everything alive in a run."""

    model: ExDiff
    ema: AveragedModel
    optimiser: Optimiser
    adversary: Adversary | None = None
    step: int = 0
    seconds: float = 0.0  # of training, over all resumptions
    validated: int = -1  # the last step after which the model was validated
    means: Means = field(default_factory=Means)


def save(state: State, recipe: Recipe, out: Path) -> None:
    """Write the resumable state and the EMA model; CheckpointError if that fails, the last state being untouched."""
    content = {
        "model": state.model.state_dict(),
        "ema": state.ema.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "adversary": state.adversary and state.adversary.progress(),
        "step": state.step,
        "seconds": state.seconds,
        "validated": state.validated,
        "means": asdict(state.means),
    }
    try:
        with (out / TEMPORARY).open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        _verify(out / TEMPORARY)
        if (out / STATE).is_file():
            (out / STATE).replace(out / PREVIOUS)
        (out / TEMPORARY).replace(out / STATE)
        _settle(out)
        checkpoint.save_model(state.ema.module, recipe, out / "model")
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot save the run in {out}: {' '.join(str(error).split())[:200]}") from None


def holds_run(out: Path) -> bool:
    """Whether the folder has a state to resume, whole or not."""
    return any((out / name).is_file() for name in (STATE, PREVIOUS))


def newest(out: Path) -> tuple[Path, dict[str, Any], str]:
    """The newest whole state of the folder: its file, its content and, if it is not state.pt, one line that says why.

    Raises:
        CheckpointError: there is none.
    """
    reasons = []
    for path in (out / STATE, out / TEMPORARY, out / PREVIOUS):
        try:
            saved = _read(path)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        return path, saved, f"{reasons[0]}: going on from {path.name}, step {saved['step']}" if reasons else ""
    raise CheckpointError(
        f"{reasons[0]}, and no earlier one is whole; delete {out}, and begin with training.init={out / 'model'}"
    )


def restore(state: State, saved: dict[str, Any], path: Path) -> None:
    """Undo `save`; CheckpointError for a state of another recipe."""
    try:
        state.model.load_state_dict(saved["model"])
        state.ema.load_state_dict(saved["ema"])
        state.optimiser.load_state_dict(saved["optimiser"])
        if state.adversary is not None:
            state.adversary.restore(saved["adversary"])
        state.step, state.seconds, state.validated = saved["step"], saved["seconds"], saved["validated"]
        state.means = Means(**saved["means"])
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason, remedy = " ".join(str(error).split())[:200], "resume with the recipe that began the run"
        raise CheckpointError(f"{path} does not fit the recipe ({reason}); {remedy}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        _verify(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({' '.join(str(error).split())[:200]})") from None


def _verify(path: Path) -> None:
    """Compare all of a file with its checksums, which torch.load does not do; OSError if they differ."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except zipfile.BadZipFile:
        raise OSError("it was cut short") from None
    if bad is not None:
        raise OSError(f"the checksum of {bad} is wrong")


def _settle(folder: Path) -> None:
    """Have the names written too, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
