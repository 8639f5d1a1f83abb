"""Models on disk: those in the package, those installed, your own, and checkpoints published by others."""

from exdiff.checkpoints.catalogue import INSTALLABLE
from exdiff.checkpoints.checkpoint import build_model, embedded, installed, load_model, load_recipe, save_model

__all__ = ["INSTALLABLE", "build_model", "embedded", "installed", "load_model", "load_recipe", "save_model"]
