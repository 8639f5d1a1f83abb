"""Every recipe of the package builds at its own size, trains two steps and enhances half a second."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model, load_model
from exdiff.core import recipe as recipes
from exdiff.core.recipe import Recipe
from exdiff.inference.loading import from_recipe
from exdiff.training import train

# Smaller widths where the recipe's own would take minutes; nothing else is changed.
SMALLER = {
    "ncsnpp": ["backbone.nf=8"],
    "ncsnpp_v2": ["backbone.nf=8"],
    "compact": ["backbone.channels=[8, 12]", "backbone.hidden=8"],
}
SMALLER_EXTRACTOR = {
    "compact": ["extractor.channels=[8, 12]", "extractor.blocks=1", "extractor.middle=1", "extractor.hidden=8"],
    "causal": ["extractor.channels=[8, 12]", "extractor.middle=1", "extractor.hidden=8"],
    "resunet30": ["extractor.channels=[8, 12]", "extractor.n_fft=256", "extractor.hop_length=80"],
    "spleeter": ["extractor.channels=[4, 6]", "extractor.frames=64", "extractor.overlap=0"],
}
QUICK = ["data={type: synthetic}", "training.steps=2", "training.batch=1", "training.segment_seconds=0.4"]
QUICK += ["training.workers=0", "training.precision=fp32", "training.validate_examples=1"]
# Millions of parameters: score network, extractor. Those of published networks are theirs.
PUBLISHED = {"sgmse-baseline": 65.59, "sgmse-bridge": 65.59, "storm": 27.8}


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_trains_and_enhances(name, tmp_path):
    recipe = Recipe.load(name)
    overrides = [*QUICK, f"data.channels={recipe.channels}", *SMALLER.get(recipe.backbone.get("type", ""), [])]
    overrides += SMALLER_EXTRACTOR.get(recipe.extractor.get("type", ""), [])
    state = train(Recipe.load(name, overrides), tmp_path)
    assert state.step == 2
    learned = [p for p in state.model.parameters() if p.requires_grad]
    assert learned
    assert all(p.isfinite().all() for p in learned)
    model, recipe = load_model(tmp_path / "model")
    audio = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    steps = 2 if model.path is not None else 0
    enhanced = from_recipe(model, recipe, steps=steps, device="cpu")(audio, 16000)
    assert enhanced.shape == audio.shape
    assert np.isfinite(enhanced).all()


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_resolved_form_that_builds(name):
    with torch.device("meta"):
        model = build_model(Recipe.from_dict(Recipe.load(name).to_dict()))
    if name in PUBLISHED:
        assert model.backbone is not None
        assert sum(p.numel() for p in model.backbone.parameters()) / 1e6 == pytest.approx(PUBLISHED[name], rel=2e-3)


FOUR = {
    "neither": ("sgmse-baseline-small", []),
    "estimate": ("exdiff-paper-small", ["fusion={type: none}"]),
    "latents": ("exdiff-paper-small", ["model.estimate_input=false"]),
    "both": ("exdiff-paper-small", []),
}


def test_the_four_systems_of_the_claim_differ_in_nothing_else():
    recipes = {system: Recipe.load(name, overrides) for system, (name, overrides) in FOUR.items()}
    both = recipes["both"]
    for recipe in recipes.values():
        for section in ("transform", "backbone", "path", "sampler", "data", "training", "sample_rate"):
            assert getattr(recipe, section) == getattr(both, section)
    models = {system: build_model(recipe) for system, recipe in recipes.items()}
    assert {system: model.extractor is not None for system, model in models.items()} == {
        "neither": False,
        "estimate": True,
        "latents": True,
        "both": True,
    }
    mixture = torch.randn(1, 1, 4000)
    features = {system: model.condition(mixture).features for system, model in models.items()}
    assert {system for system, maps in features.items() if maps} == {"latents", "both"}
    inputs = {system: model.backbone.inlet.in_channels for system, model in models.items()}  # type: ignore[union-attr]
    assert inputs["neither"] == inputs["latents"] < inputs["estimate"] == inputs["both"]
