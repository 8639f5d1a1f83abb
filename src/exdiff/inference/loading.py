"""Enhancers from models on disk, and from models in memory with their recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exdiff.core.config import build
from exdiff.core.machine import choose_device, precision
from exdiff.core.recipe import Recipe
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.options import check_use, resolve_sampler, sampler_keys
from exdiff.inference.ready import make_ready


def load(
    name: str | Path,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    trust_code: bool = False,
    **options: Any,
) -> Enhancer:
    """An enhancer from an embedded model's name or a checkpoint's path, set up as its recipe says.

    Args:
        name: see `exdiff.checkpoints.checkpoint.load_model`; published SGMSE checkpoints (.ckpt) are read too.
        steps: instead of the recipe's.
        sampler: by name, instead of the recipe's.
        trust_code: run code that the checkpoint names, see `exdiff.checkpoints.checkpoint.load_model`.
        options: further arguments of `Enhancer` (device, precision, segment_seconds, batch_windows, ...); its
            sampler_options are added to the recipe's.

    Raises:
        CheckpointError: no such model, or it is damaged.
        ConfigError: an option that is unknown or out of range.
    """
    from exdiff.checkpoints.checkpoint import load_model

    model, recipe = load_model(name, trust_code=trust_code)
    chosen = {"device": "auto", "precision": "auto", **recipe.enhancer, **options}
    device = choose_device(chosen["device"])
    make_ready(model, device, precision(chosen["precision"], device.type))  # nobody else has it: no copy is needed
    return from_recipe(model, recipe, steps=steps, sampler=sampler, **options)


def from_recipe(
    model: Any, recipe: Recipe, *, steps: int | None = None, sampler: str | None = None, **options: Any
) -> Enhancer:
    """`load` for a model in memory, as during training; like `Enhancer`, it leaves that model as it is."""
    own = dict(recipe.sampler)
    kind, own_steps = own.pop("type", None), own.pop("steps", 1)
    if model.path is None or kind is None:
        own_steps = 0  # nothing to sample with: the extractor's estimate
    chosen_steps = own_steps if steps is None else steps
    check_use(sampler, chosen_steps)
    if sampler is not None and sampler != kind:
        chosen = resolve_sampler(sampler)
        assert chosen is not None
        kind, own = sampler, {key: value for key, value in own.items() if key in sampler_keys(chosen)}
    own |= options.pop("sampler_options", {})
    section = {"type": "enhancer", **recipe.enhancer, **options}
    enhancer = build(
        {"enhancer": Enhancer},
        section,
        model=model,
        sampler=kind,
        steps=chosen_steps,
        sampler_options=own,
    )
    enhancer.name = recipe.name
    return enhancer
