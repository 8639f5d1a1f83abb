"""What training minimises: distances, the objective composed of them, and an adversary."""

from exdiff.training.objective.adversary import Adversary
from exdiff.training.objective.objective import Objective, build_objective

__all__ = ["Adversary", "Objective", "build_objective"]
