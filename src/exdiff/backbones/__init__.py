"""Score networks: the raw function F of state, time and condition."""

from exdiff.backbones.base import Backbone
from exdiff.backbones.compact import CompactBackbone

BACKBONES = {"compact": CompactBackbone}

__all__ = ["BACKBONES", "Backbone", "CompactBackbone"]
