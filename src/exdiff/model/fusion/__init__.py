"""Fusions: how the extractor's latents enter the score network."""

from exdiff.model.fusion.add import AddFusion
from exdiff.model.fusion.base import Fusion, regrid
from exdiff.model.fusion.concat import ConcatFusion
from exdiff.model.fusion.cross_attention import CrossAttentionFusion
from exdiff.model.fusion.film import FiLMFusion
from exdiff.model.fusion.gated import GatedFusion
from exdiff.model.fusion.none import NoFusion

FUSIONS = {
    "none": NoFusion,
    "concat": ConcatFusion,
    "add": AddFusion,
    "film": FiLMFusion,
    "gated": GatedFusion,
    "cross_attention": CrossAttentionFusion,
}

__all__ = [
    "FUSIONS",
    "AddFusion",
    "ConcatFusion",
    "CrossAttentionFusion",
    "FiLMFusion",
    "Fusion",
    "GatedFusion",
    "NoFusion",
    "regrid",
]
