"""Put a trained model into the package: 16-bit weights, and the recipe without paths of the training machine.

    python scripts/embed.py runs/speech/model speech

The package's recipe of that name must describe the same model; its data section replaces the run's, whose paths are
valid on one machine only, and so do its sections of the sampler and the enhancer. For an installable model (`exdiff
models install`), whose extractor is by others, only the score network and the fusion are put in; the installation joins
them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from exdiff.checkpoints.catalogue import INSTALLABLE
from exdiff.checkpoints.checkpoint import load_model, save_model, save_weights
from exdiff.core.recipe import Recipe

SECTIONS = ("sample_rate", "licence", "transform", "extractor", "fusion", "backbone", "path")
WEIGHTS = Path(__file__).parents[1] / "src" / "exdiff" / "checkpoints" / "weights"


def main() -> None:
    """Read the model of a run, compare it with the recipe, and write it into the source tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder `model` of a run")
    parser.add_argument("name", help="name of the recipe, and of the model in the package")
    options = parser.parse_args()
    model, recipe = load_model(options.run)
    plain = Recipe.load(options.name)
    item = INSTALLABLE.get(options.name)
    for section in SECTIONS:
        if item and section == "extractor":  # its blocks may have been shorter in training
            continue
        if getattr(plain, section) != getattr(recipe, section):
            raise SystemExit(f"{section} of the run differs from the recipe {options.name!r}")
    folder = WEIGHTS / options.name
    if item and item.score:
        ours = {key: value for key, value in model.state_dict().items() if not key.startswith("extractor.")}
        folder.mkdir(exist_ok=True)
        save_weights(ours, WEIGHTS / item.score, recipe.licence, torch.float16)
    else:
        training = {key: value for key, value in recipe.training.items() if key != "init"}
        own = {"data": plain.data, "sampler": plain.sampler, "enhancer": plain.enhancer}
        packed = replace(recipe, name=options.name, training=training, **own)
        save_model(model, packed, folder, torch.float16)
    size = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
