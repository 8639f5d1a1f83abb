"""Training: a recipe in, a checkpoint out. `loop.py` is the place to start reading."""

from exdiff.training.loop import train
from exdiff.training.options import Options
from exdiff.training.state import State

__all__ = ["Options", "State", "train"]
