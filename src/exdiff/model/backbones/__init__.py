"""Score networks: the raw function F of state, time and condition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from exdiff.model.backbones.base import Backbone
from exdiff.model.backbones.compact import CompactBackbone
from exdiff.model.backbones.ncsnpp import NCSNpp

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "compact": CompactBackbone,
    "ncsnpp": NCSNpp,
    "ncsnpp_v2": partial(NCSNpp, divide_by_time="nothing"),
    "ncsnpp_48k": partial(
        NCSNpp, attn_resolutions=(), progressive="none", progressive_input="none", divide_by_time="output"
    ),
}

__all__ = ["BACKBONES", "Backbone", "CompactBackbone", "NCSNpp"]
