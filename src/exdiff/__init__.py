"""exdiff: speech and vocal enhancement, extract and then diffuse (arXiv 2409.09642).

The public names are those below; everything else is internal. They are imported when first used, so that the command
line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exdiff.core.errors import (
        AudioError,
        CheckpointError,
        ConfigError,
        DataError,
        DivergenceError,
        ExDiffError,
        TrainingError,
    )
    from exdiff.core.recipe import Recipe
    from exdiff.inference.enhancer import Enhancer
    from exdiff.inference.live import Live
    from exdiff.inference.loading import load
    from exdiff.inference.options import Run
    from exdiff.model.exdiff import ExDiff

__version__ = "0.1.0"
__all__ = [
    "AudioError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "Enhancer",
    "ExDiff",
    "ExDiffError",
    "Live",
    "Recipe",
    "Run",
    "TrainingError",
    "__version__",
    "load",
]

_HOMES = {
    "AudioError": "exdiff.core.errors",
    "CheckpointError": "exdiff.core.errors",
    "ConfigError": "exdiff.core.errors",
    "DataError": "exdiff.core.errors",
    "DivergenceError": "exdiff.core.errors",
    "Enhancer": "exdiff.inference.enhancer",
    "ExDiff": "exdiff.model.exdiff",
    "ExDiffError": "exdiff.core.errors",
    "Live": "exdiff.inference.live",
    "Recipe": "exdiff.core.recipe",
    "Run": "exdiff.inference.options",
    "TrainingError": "exdiff.core.errors",
    "load": "exdiff.inference.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'exdiff' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
