"""Gaussian paths and what networks predict on them."""

from __future__ import annotations

from collections.abc import Callable

from exdiff.diffusion.bbed import BBEDPath
from exdiff.diffusion.bridge import BridgePath
from exdiff.diffusion.brownian import BrownianPath
from exdiff.diffusion.flow import FlowPath
from exdiff.diffusion.noise import Generators, normal_like, uniform
from exdiff.diffusion.ouve import OUVEPath
from exdiff.diffusion.path import Coefficients, Derivatives, GaussianPath, PathSample
from exdiff.diffusion.precondition import Precondition
from exdiff.diffusion.prediction import KINDS, Prediction

PATHS: dict[str, Callable[..., GaussianPath]] = {
    "ouve": OUVEPath,
    "bbed": BBEDPath,
    "bridge": BridgePath,
    "flow": FlowPath,
    "brownian": BrownianPath,
}

__all__ = [
    "KINDS",
    "PATHS",
    "BBEDPath",
    "BridgePath",
    "BrownianPath",
    "Coefficients",
    "Derivatives",
    "FlowPath",
    "GaussianPath",
    "Generators",
    "OUVEPath",
    "PathSample",
    "Precondition",
    "Prediction",
    "normal_like",
    "uniform",
]
