"""Enhancing: any rate, length and number of channels, through one engine."""

from exdiff.core.stems import STEMS
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.loading import from_recipe, load
from exdiff.inference.options import CallOptions, Run
from exdiff.inference.stream import Stream

__all__ = ["CallOptions", "Enhancer", "Run", "STEMS", "Stream", "from_recipe", "load"]
