"""What a run starts with: a new state, or the newest saved one, and the data set."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from exdiff.checkpoints import checkpoint
from exdiff.core.config import build, in_section, nearest
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.data.datasets import DATASETS
from exdiff.inference.loading import from_recipe
from exdiff.model.exdiff import ExDiff
from exdiff.model.fusion import FUSIONS
from exdiff.training.adversary import Adversary
from exdiff.training.log import Log
from exdiff.training.objective import build_objective
from exdiff.training.optimiser import make_optimiser
from exdiff.training.options import Options
from exdiff.training.state import STATE, State, newest, restore
from exdiff.training.world import World


def new_state(recipe: Recipe, options: Options, world: World) -> tuple[State, dict[str, Any] | None]:
    """The state before the first step; and what to log of the weights that come from `options.init`, if it is set."""
    torch.manual_seed(options.seed)
    model = checkpoint.build_model(recipe)
    sources = [options.init] if isinstance(options.init, str) else options.init or []
    copied = {name for source in sources for name in checkpoint.load_matching(model, source)}
    state = _state_of(model, recipe, options, world)
    _check_processes_agree(world, state, recipe)
    if not copied:
        return state, None
    return state, {"init": options.init, "copied": len(copied), "fresh": len(model.state_dict()) - len(copied)}


def resumed_state(
    recipe: Recipe, options: Options, world: World, out: Path, log: Log, report: Callable[[str], None]
) -> State:
    """The newest intact state saved in `out`; the log loses the lines after it."""
    state = _state_of(checkpoint.build_model(recipe), recipe, options, world)
    path, saved, remark = newest(out)
    restore(state, saved, path)
    _check_processes_agree(world, state, recipe)
    if world.main and path.name != STATE:
        path.replace(out / STATE)  # or the next save would keep the damaged one as the previous state
    log.truncate(state.step, state.validated)
    report(remark or f"going on from step {state.step}")
    return state


def _state_of(model: ExDiff, recipe: Recipe, options: Options, world: World) -> State:
    """The model on its device, with its objective, moving average, optimiser and adversary."""
    _check_unused(recipe)
    objective = build_objective(model, recipe.objective)
    shortest = model.transform.n_fft / recipe.sample_rate
    if options.segment_seconds < shortest:
        raise ConfigError(
            f"training: segment_seconds must be at least {shortest:.3g}, a frame of the transform, "
            f"got {options.segment_seconds}"
        )
    from_recipe(model, recipe, device="cpu", precision="fp32")  # refuses now what validation would refuse hours later
    model.to(world.device)
    optimiser = make_optimiser(options.optimiser, model.parameters(), options.learning_rate)
    state = State(model, objective, AveragedModel(model), optimiser)
    if options.discriminators is not None:
        if not objective.measures_estimates:
            raise ConfigError(
                "training.adversary judges the denoised estimates of a diffusion model, and this one has none: either "
                "it has no backbone or model.output is not 'denoised'; set training.adversary=false"
            )
        state.adversary = Adversary(options.discriminators, options.steps, world.average).to(world.device)
    return state


def _check_unused(recipe: Recipe) -> None:
    """ConfigError for a fusion without an extractor; not when a model is loaded: old checkpoints may have one."""
    kind = recipe.fusion.get("type", "none")
    if kind not in FUSIONS:
        raise ConfigError(f"fusion: unknown type {kind!r}{nearest(str(kind), FUSIONS)}")
    if kind != "none" and not recipe.extractor:
        raise ConfigError(f"fusion: {kind!r} has no effect without an extractor; leave it out with fusion=null")


def _check_processes_agree(world: World, state: State, recipe: Recipe) -> None:
    if world.differs(zlib.crc32(json.dumps(recipe.to_dict(), sort_keys=True).encode())):
        raise ConfigError("the processes of this run have different recipes or overrides; start all with the same")
    if world.differs(state.step):
        raise ConfigError("the processes of this run resume at different steps; --out must be one folder for all")


def build_data(recipe: Recipe, options: Options) -> Any:
    """The data set of a recipe: `source[index]` -> (clean, mixture)."""
    context = {"seed": options.seed, "segment_seconds": options.segment_seconds, "sample_rate": recipe.sample_rate}
    with in_section("data"):
        return build(DATASETS, recipe.data, **context)


def compile_networks(model: ExDiff) -> None:
    """Compile backbone and extractor in place."""
    # Of the extractor only its body: inductor does not compile the complex numbers around it, and warns.
    for network in (model.backbone, getattr(model.extractor, "body", None)):
        if isinstance(network, nn.Module):
            network.compile()
