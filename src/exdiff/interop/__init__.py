"""Checkpoints of other people's code, read without running anything in them and without that code."""

from exdiff.interop.archive import read_checkpoint
from exdiff.interop.sgmse import Published, read_sgmse

__all__ = ["Published", "read_checkpoint", "read_sgmse"]
