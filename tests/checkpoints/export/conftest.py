"""Small models with weights that matter, and one exported for all tests of a session."""

from __future__ import annotations

import math

import pytest
import torch

import exdiff
from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.checkpoints.export import export
from exdiff.core.recipe import Recipe


@pytest.fixture(scope="session")
def small_model():
    """`small_model(recipe, override, ...)` -> model, recipe; unlike in new models, every layer has an effect."""

    def make(name, *overrides):
        recipe = Recipe.load(name, overrides)
        torch.manual_seed(0)
        model = build_model(recipe).eval().requires_grad_(False)
        for parameter in model.parameters():
            size = parameter[0].numel() if parameter.ndim > 1 else 400
            parameter += 0.5 * torch.randn_like(parameter) / math.sqrt(max(1, size))
        return model, recipe

    return make


@pytest.fixture(scope="session")
def small_speech(small_model):
    """`small_speech(override, ...)`: `small_model` of the recipe `speech`, as small as can be."""
    parts = [
        "extractor={type: compact, channels: [8, 12], blocks: 1, middle: 1, hidden: 8}",
        "backbone={type: compact, channels: [8, 12], hidden: 8}",
    ]

    def make(*overrides):
        changed = {override.partition("=")[0] for override in overrides}
        return small_model("speech", *(part for part in parts if part.partition("=")[0] not in changed), *overrides)

    return make


@pytest.fixture(scope="session")
def checkpoint(small_speech, tmp_path_factory):
    """A folder with a model as small as can be, and one file made of it."""
    folder = tmp_path_factory.mktemp("export")
    model, recipe = small_speech()
    save_model(model, recipe, folder / "model")
    return folder


@pytest.fixture(scope="session")
def exported(checkpoint):
    """The file, and what `export` says of it."""
    from exdiff.checkpoints.checkpoint import load_model

    model, recipe = load_model(checkpoint / "model")
    details = {"exdiff": exdiff.__version__, "window_samples": 48000, "hop_samples": 3 * 32 * 255}
    return export(model, recipe, checkpoint / "speech.onnx", steps=1, details=details)[0]
