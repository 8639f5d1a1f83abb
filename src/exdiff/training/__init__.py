"""Training: a recipe in, a checkpoint out. Start reading in `loop.py`."""

from exdiff.training.loop import train
from exdiff.training.options import Options
from exdiff.training.state import State

__all__ = ["Options", "State", "train"]
