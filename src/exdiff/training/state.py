"""The state of a run, and how it is saved and restored.

There is always an intact state on the disk: a new one is written beside the old, read back and only then renamed, and
the previous one is kept. `state.pt` is a zip archive of tensors and plain values with a checksum for each; loading it
never executes code.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from exdiff.checkpoints import checkpoint
from exdiff.core.errors import CheckpointError
from exdiff.core.recipe import Recipe
from exdiff.model.exdiff import ExDiff
from exdiff.training.adversary import Adversary
from exdiff.training.log import RunningMeans
from exdiff.training.objective import Objective
from exdiff.training.optimiser import Optimiser

STATE, TEMPORARY, PREVIOUS = "state.pt", "state.pt.tmp", "state.previous.pt"


@dataclass
class State:
    """Everything that changes during a run."""

    model: ExDiff
    objective: Objective
    ema: AveragedModel
    optimiser: Optimiser
    adversary: Adversary | None = None
    step: int = 0
    seconds: float = 0.0  # of training, over all resumptions
    validated: int = -1  # step of the last validation
    means: RunningMeans = field(default_factory=RunningMeans)


def snapshot(state: State) -> dict[str, Any]:
    """A copy of the state in the host's memory, which training does not change."""
    content = {
        "model": state.model.state_dict(),
        "ema": state.ema.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "adversary": state.adversary and state.adversary.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
        "validated": state.validated,
        "means": state.means.state_dict(),
    }
    copy = _on_host(content)
    for device in {p.device for p in state.model.parameters() if p.is_cuda}:
        torch.cuda.synchronize(device)  # the copies began one after the other, without waiting
    return copy


def _on_host(value: Any) -> Any:
    if isinstance(value, Tensor):
        copy = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return copy.copy_(value, non_blocking=value.is_cuda)  # only CUDA's copies are waited for, in `snapshot`
    if isinstance(value, dict):
        return {key: _on_host(item) for key, item in value.items()}
    return [_on_host(item) for item in value] if isinstance(value, list) else value


def write(content: dict[str, Any], recipe: Recipe, out: Path) -> None:
    """Write a snapshot and its EMA model; CheckpointError if that fails, and the last state is untouched."""
    averaged = {name.removeprefix("module."): value for name, value in content["ema"].items() if name != "n_averaged"}
    try:
        with (out / TEMPORARY).open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        _verify(out / TEMPORARY)
        if (out / STATE).is_file():
            (out / STATE).replace(out / PREVIOUS)
        (out / TEMPORARY).replace(out / STATE)
        _sync_folder(out)
        checkpoint.save_model(averaged, recipe, out / "model")
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot save the run in {out}: {' '.join(str(error).split())[:200]}") from None


def holds_run(out: Path) -> bool:
    """Whether the folder has a state to resume, intact or not."""
    return any((out / name).is_file() for name in (STATE, PREVIOUS))


def newest(out: Path) -> tuple[Path, dict[str, Any], str]:
    """The newest intact state in the folder: its file, its content and, if it is not state.pt, one line that says why.

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
        f"{reasons[0]}, and no earlier one is intact; delete {out}, and begin with training.init={out / 'model'}"
    )


def restore(state: State, saved: dict[str, Any], path: Path) -> None:
    """Load what `write` wrote; CheckpointError if it is the state of another recipe."""
    try:
        state.model.load_state_dict(saved["model"])
        state.ema.load_state_dict(saved["ema"])
        state.optimiser.load_state_dict(saved["optimiser"])
        if state.adversary is not None:
            state.adversary.load_state_dict(saved["adversary"])
        state.step, state.seconds, state.validated = saved["step"], saved["seconds"], saved["validated"]
        state.means = RunningMeans.of(saved["means"])
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
    """Compare the whole file with its checksums, which torch.load does not do; OSError if they differ."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except zipfile.BadZipFile:
        raise OSError("it was cut short") from None
    if bad is not None:
        raise OSError(f"the checksum of {bad} is wrong")


def _sync_folder(folder: Path) -> None:
    """Flush the renames to the disk too, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
