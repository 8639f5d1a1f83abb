"""What training minimises: distances, the objective composed of them, and the networks of discriminators."""

from exdiff.training.objective.objective import Objective, build_objective

__all__ = ["Objective", "build_objective"]
