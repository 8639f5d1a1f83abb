"""exdiff: speech and vocal enhancement, extract and then diffuse (arXiv 2409.09642).

The public names are those below; everything else is internal. They are imported when first used, so that the command
line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exdiff.core.recipe import Recipe
    from exdiff.inference.enhancer import Enhancer
    from exdiff.inference.loading import load
    from exdiff.model.exdiff import ExDiff

__version__ = "0.1.0"
__all__ = ["Enhancer", "ExDiff", "Recipe", "__version__", "load"]

_HOMES = {
    "Enhancer": "exdiff.inference.enhancer",
    "load": "exdiff.inference.loading",
    "ExDiff": "exdiff.model.exdiff",
    "Recipe": "exdiff.core.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'exdiff' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
