"""Gaussian paths and what networks predict on them."""

from __future__ import annotations

from collections.abc import Callable

from exdiff.model.diffusion.bbed import BBEDPath
from exdiff.model.diffusion.bridge import BridgePath
from exdiff.model.diffusion.brownian import BrownianPath
from exdiff.model.diffusion.flow import FlowPath
from exdiff.model.diffusion.noise import Generators, Keys, normal_like, uniform
from exdiff.model.diffusion.ouve import OUVEPath
from exdiff.model.diffusion.path import Coefficients, Derivatives, GaussianPath, PathSample
from exdiff.model.diffusion.precondition import Precondition
from exdiff.model.diffusion.prediction import PREDICTIONS, Prediction

PATHS: dict[str, Callable[..., GaussianPath]] = {
    "ouve": OUVEPath,
    "bbed": BBEDPath,
    "bridge": BridgePath,
    "flow": FlowPath,
    "brownian": BrownianPath,
}

__all__ = [
    "PREDICTIONS",
    "PATHS",
    "BBEDPath",
    "BridgePath",
    "BrownianPath",
    "Coefficients",
    "Derivatives",
    "FlowPath",
    "GaussianPath",
    "Generators",
    "Keys",
    "OUVEPath",
    "PathSample",
    "Precondition",
    "Prediction",
    "normal_like",
    "uniform",
]
