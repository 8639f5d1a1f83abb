"""Checkpoints: a folder with model.safetensors (weights) and recipe.json (how to rebuild the model). Never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from exdiff.checkpoints.catalogue import INSTALLABLE, install_hint, installed_folder
from exdiff.checkpoints.interop import read_sgmse
from exdiff.core.config import build, in_section, nearest
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.backbones import BACKBONES
from exdiff.model.diffusion import PATHS
from exdiff.model.exdiff import ExDiff
from exdiff.model.extractors import EXTRACTORS
from exdiff.model.fusion import FUSIONS
from exdiff.model.transforms import TRANSFORMS

WEIGHTS, RECIPE = "model.safetensors", "recipe.json"


def build_model(recipe: Recipe) -> ExDiff:
    """A model with fresh weights; it lacks the parts whose sections are empty in the recipe."""
    extractor = backbone = fusion = path = None
    if recipe.extractor:
        with in_section("extractor"):
            extractor = build(EXTRACTORS, recipe.extractor, sample_rate=recipe.sample_rate)
    if recipe.backbone:
        guided = extractor is not None and recipe.model.get("estimate_input", True)
        signals = recipe.channels * (3 if guided else 2)  # x_t, mixture and the estimate
        with in_section("backbone"):
            backbone = build(BACKBONES, recipe.backbone, in_channels=2 * signals, out_channels=2 * recipe.channels)
        with in_section("path"):
            path = build(PATHS, recipe.path)
        if extractor is not None:
            latents = [c * max(1, recipe.channels // extractor.channels) for c in extractor.latent_channels]
            sizes = {"latent_channels": latents, "feature_channels": backbone.feature_channels}
            with in_section("fusion"):
                fusion = build(FUSIONS, recipe.fusion or {"type": "none"}, **sizes)
    with in_section("transform"):
        transform = build(TRANSFORMS, recipe.transform)
    parts = {"transform": transform, "path": path, "extractor": extractor}
    section = {"type": "exdiff", **recipe.model}
    parts |= {"sample_rate": recipe.sample_rate, "channels": recipe.channels}
    return build({"exdiff": ExDiff}, section, **parts, backbone=backbone, fusion=fusion)


def embedded() -> list[str]:
    """Names of the models in the package."""
    folder = resources.files("exdiff.checkpoints") / "weights"
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if (p / RECIPE).is_file())


def installed() -> list[str]:
    """Names of the models in the catalogue that are in the user's cache."""
    return sorted(name for name in INSTALLABLE if (installed_folder(name) / RECIPE).is_file())


def is_path(source: str | Path) -> bool:
    """Whether `source` is the path of something that exists, rather than a model's name.

    Files and folders of recordings that happen to have a model's name do not hide the model; a checkpoint does, and
    `./speech` is never a name.
    """
    place, name = Path(source), str(source)
    return (place / RECIPE).is_file() or (place.exists() and name not in embedded() and name not in INSTALLABLE)


def locate(source: str | Path) -> Path:
    """The folder of an embedded or installed model or of a checkpoint, or the file of a published one.

    Raises:
        CheckpointError: not a name, folder or file, or a model that is not installed yet.
    """
    place, name = Path(source), str(source)
    if is_path(source):
        return place
    if name in embedded():
        return Path(str(resources.files("exdiff.checkpoints") / "weights" / name))
    if name in installed():
        return installed_folder(name)
    if name in INSTALLABLE:
        raise CheckpointError(f"the model {name!r} is not installed; {install_hint(name)}")
    if place.suffix in (".ckpt", ".pt", ".pth"):
        raise CheckpointError(f"{source} does not exist; give the path of a published checkpoint")
    known = [*embedded(), *INSTALLABLE]
    raise CheckpointError(f"unknown model {name!r}{nearest(name, known)} (or give the path of a checkpoint folder)")


def load_recipe(source: str | Path) -> Recipe:
    """The recipe without the weights; raises what `load_model` raises."""
    place = locate(source)
    return read_sgmse(place).recipe if place.is_file() else _read_recipe(place / RECIPE)


def load_model(source: str | Path, *, trust_code: bool = False) -> tuple[ExDiff, Recipe]:
    """A model by name, a checkpoint folder, or a published SGMSE checkpoint, ready for inference.

    Args:
        source: a name or a folder.
        trust_code: build parts that run code named by the checkpoint (`Extractor.runs_code`). Off by default, since a
            checkpoint may come from anywhere.

    Raises:
        CheckpointError: unknown name, missing or damaged file, weights that do not fit the recipe, or untrusted code.
    """
    try:
        return _load(source, trust_code)
    except CheckpointError as error:
        if is_path(source) or str(source) not in installed():
            raise
        raise CheckpointError(f"{error}; to repair it, {install_hint(str(source))}") from None


def _load(source: str | Path, trust_code: bool) -> tuple[ExDiff, Recipe]:
    folder = locate(source)
    published = read_sgmse(folder) if folder.is_file() else None
    recipe = load_recipe(folder) if published is None else published.recipe
    extractor = EXTRACTORS.get(recipe.extractor.get("type", ""))
    if extractor is not None and extractor.runs_code and not trust_code:
        raise CheckpointError(
            f"{folder} asks to import and run {recipe.extractor.get('factory')!r}; if you trust that code, "
            "load it with trust_code=True (--trust-code)"
        )
    try:
        model = build_model(recipe)
    except ConfigError as error:
        where = f"{folder / RECIPE}" if published is None else f"{folder}"
        raise CheckpointError(f"{where}: {error}; was it made by another version of exdiff?") from None
    weights = read_weights(folder / WEIGHTS) if published is None else published.weights
    try:
        model.load_state_dict({k: v.float() for k, v in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder}: the weights do not fit the recipe: {' '.join(str(error).split())[:300]}"
        ) from None
    return model.eval(), recipe


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name; CheckpointError if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a checkpoint: it has no {path.name}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def save_model(
    model: nn.Module | Mapping[str, torch.Tensor], recipe: Recipe, folder: Path, dtype: torch.dtype | None = None
) -> None:
    """Write a model or its weights (as `dtype`, or as they are) and recipe; neither file is ever half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict() if isinstance(model, nn.Module) else model
    save_weights(weights, folder / WEIGHTS, recipe.licence, dtype)
    text = folder / f"{RECIPE}.{os.getpid()}.tmp"
    text.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n", encoding="utf-8")
    text.replace(folder / RECIPE)


def save_weights(
    weights: Mapping[str, torch.Tensor], path: Path, licence: str, dtype: torch.dtype | None = None
) -> None:
    """Write tensors (as `dtype`, or as they are) and their licence to a safetensors file.

    Raises:
        CheckpointError: the disk is full, or the place cannot be written.
    """
    plain = {k: v.detach().to(dtype or v.dtype).contiguous() for k, v in weights.items()}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(save(plain, {"licence": licence}))  # `save_file` lets nobody else read it
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error}") from None


def load_matching(model: nn.Module, source: str) -> list[str]:
    """Initialise from another model: copy the weights with equal name and shape; returns the names copied.

    Raises:
        CheckpointError: see `load_model`; or nothing fits.
    """
    place = locate(source)
    weights = read_sgmse(place).weights if place.is_file() else read_weights(place / WEIGHTS)
    own = model.state_dict()
    fitting = {k: v.float() for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise CheckpointError(f"{source}: none of its weights fit this model")
    model.load_state_dict(fitting, strict=False)
    return sorted(fitting)


def _read_recipe(path: Path) -> Recipe:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise CheckpointError(f"{path} is damaged: it holds a {type(table).__name__}, not a table")
        return Recipe.from_dict(table)
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a checkpoint: it has no {RECIPE}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}; was it made by another version of exdiff?") from None
