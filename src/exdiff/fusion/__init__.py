"""How the extractor's latents reach the score network."""

from exdiff.fusion.add import AddFusion
from exdiff.fusion.base import Fusion, regrid
from exdiff.fusion.concat import ConcatFusion
from exdiff.fusion.cross_attention import CrossAttentionFusion
from exdiff.fusion.film import FiLMFusion
from exdiff.fusion.gated import GatedFusion
from exdiff.fusion.none import NoFusion

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
