"""Checkpoints of other people's code, read without running anything in them and without that code."""

from exdiff.interop.archive import read_checkpoint
from exdiff.interop.bundle import read_bundle
from exdiff.interop.sgmse import Published, read_sgmse
from exdiff.interop.spleeter import spleeter_names, spleeter_weights

__all__ = ["Published", "read_bundle", "read_checkpoint", "read_sgmse", "spleeter_names", "spleeter_weights"]
