"""What a shell offers for names of models, recipes and samplers. It is waited for, so nothing here loads torch."""

from __future__ import annotations

import re
from importlib import resources


def model_names(incomplete: str) -> list[str]:
    """Models in the package and models that can be installed: each has a folder among the weights.

    Example:
        >>> model_names("sp")
        ['speech', 'speech-live']
    """
    weights = resources.files("exdiff") / "checkpoints" / "weights"
    return _beginning(incomplete, sorted(folder.name for folder in weights.iterdir() if folder.is_dir()))


def recipe_names(incomplete: str) -> list[str]:
    """Recipes in the package.

    Example:
        >>> recipe_names("deb")
        ['debug']
    """
    from exdiff.core.recipe import names

    return _beginning(incomplete, names())


def sampler_names(incomplete: str) -> list[str]:
    """Keys of the table of samplers, read from its source, since importing it would load torch.

    Example:
        >>> sampler_names("heu")
        ['heun']
    """
    source = (resources.files("exdiff") / "model" / "samplers" / "__init__.py").read_text(encoding="utf-8")
    return _beginning(incomplete, re.findall(r'^    "(\w+)": ', source, re.MULTILINE))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
