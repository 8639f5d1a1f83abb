"""The mean of the weights of several runs of one recipe, which is often better than each of them.

    python scripts/average.py runs/mean runs/a/model runs/b/model=2

Runs that went on from one model with different losses can be averaged (Wortsman et al. 2022, model soups): the mean
lies between them in what they trade. `=2` counts a run twice. The result has the recipe of the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from exdiff.checkpoints.checkpoint import WEIGHTS, load_model, save_model
from exdiff.core.errors import ConfigError, ExDiffError

SECTIONS = ("sample_rate", "channels", "transform", "extractor", "fusion", "backbone", "path", "model")


def average(sources: list[tuple[str, float]], out: Path) -> None:
    """Write the mean of models, each with its weight, to the folder `out`.

    Raises:
        CheckpointError: a model cannot be loaded, or `out` cannot be written.
        ConfigError: models that are not of one form, a weight that is not positive, or `out` holds a model already.
    """
    if any(share <= 0 for _, share in sources):
        raise ConfigError("every weight must be more than 0")
    if (out / WEIGHTS).exists():
        raise ConfigError(f"{out} holds a model already; name another folder")
    total = sum(share for _, share in sources)
    (model, recipe), *others = [load_model(name) for name, _ in sources]
    for (name, _), (_, other) in zip(sources[1:], others, strict=True):
        for section in SECTIONS:
            if getattr(other, section) != getattr(recipe, section):
                raise ConfigError(f"{name}: its section {section} differs from that of {sources[0][0]}")
    with torch.no_grad():
        mean = {key: value * (sources[0][1] / total) for key, value in model.state_dict().items()}
        for (_, share), (other, _) in zip(sources[1:], others, strict=True):
            for key, value in other.state_dict().items():
                mean[key] += value * (share / total)
    model.load_state_dict(mean)
    save_model(model, recipe, out)


def source(text: str) -> tuple[str, float]:
    """PATH or PATH=WEIGHT."""
    name, _, share = text.partition("=")
    return name, float(share or 1)


def main() -> None:
    """Read, average and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the result")
    parser.add_argument("models", nargs="+", type=source, metavar="MODEL[=WEIGHT]", help="the folder `model` of a run")
    options = parser.parse_args()
    try:
        average(options.models, options.out)
    except ExDiffError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
