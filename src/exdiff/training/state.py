"""Everything alive in a run, and how it is saved and restored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel

from exdiff import checkpoint
from exdiff.adversary import Adversary
from exdiff.config import Recipe
from exdiff.errors import CheckpointError
from exdiff.model import ExDiff
from exdiff.optimiser import Optimiser


@dataclass
class State:
    """Everything alive in a run."""

    model: ExDiff
    ema: AveragedModel
    optimiser: Optimiser
    adversary: Adversary | None = None
    step: int = 0
    seconds: float = 0.0  # of training, over all resumptions


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


def restore(state: State, path: Path) -> None:
    """Undo `save`; CheckpointError for a file that is damaged or of another recipe."""
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
