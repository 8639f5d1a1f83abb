"""How the extractor's latents reach the score network."""

from exdiff.fusion.add import AddFusion
from exdiff.fusion.base import Fusion, regrid
from exdiff.fusion.none import NoFusion

FUSIONS = {"none": NoFusion, "add": AddFusion}

__all__ = ["FUSIONS", "AddFusion", "Fusion", "NoFusion", "regrid"]
