"""Checkpoints written by other projects, read without their code and without running anything in them."""

from exdiff.checkpoints.interop.archive import read_checkpoint
from exdiff.checkpoints.interop.bundle import read_bundle
from exdiff.checkpoints.interop.sgmse import Published, read_sgmse
from exdiff.checkpoints.interop.spleeter import spleeter_names, spleeter_weights

__all__ = ["Published", "read_bundle", "read_checkpoint", "read_sgmse", "spleeter_names", "spleeter_weights"]
