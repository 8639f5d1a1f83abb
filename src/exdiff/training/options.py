"""The `training` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exdiff.config import nearest
from exdiff.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """The `training` section of a recipe."""

    steps: int = 20000
    batch: int = 6
    segment_seconds: float = 2.0
    optimiser: str = "muon"
    learning_rate: float = 2e-3
    warmup: int = 200  # steps
    decay_share: float = 0.3  # of the run, at its end, over which the rate falls linearly to zero
    decay_minutes: float = 0.0  # if set, decay over the last minutes of --max-minutes instead
    ema: float = 0.999
    clip: float = 5.0
    seed: int = 0
    precision: str = "auto"
    workers: int = 1
    log_every: int = 20
    save_minutes: float = 4.0
    adversary: bool = False  # discriminators judge the denoised estimates (adversary.py)
    validate_minutes: float = 10.0
    validate_examples: int = 8
    init: str | None = None  # checkpoint whose weights to start from, where names and shapes fit

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Options:
        """Checked against the fields above; ConfigError names the nearest one to a typo."""
        known = cls.__dataclass_fields__
        for key in section:
            if key not in known:
                raise ConfigError(f"training: unknown key {key!r}{nearest(key, known)}")
        return cls(**section)
