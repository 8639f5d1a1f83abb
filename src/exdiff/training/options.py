"""The `training` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any

from exdiff.config import nearest
from exdiff.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """The `training` section of a recipe."""

    steps: int = 20000
    batch: int = 6  # of a step, over all processes
    accumulate: int = 1  # parts that a process takes one after the other: less memory, the same step
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
    compile: bool = False  # the networks, by torch.compile
    workers: int = 1  # processes that make examples, for each process that trains
    timeout_seconds: float = 120.0  # how long one process waits for the others
    log_every: int = 20
    save_minutes: float = 4.0
    save_steps: int = 0  # save at multiples of it as well; 0 goes by the clock alone
    adversary: bool = False  # discriminators judge the denoised estimates (adversary.py)
    validate_minutes: float = 10.0
    validate_steps: int = 0  # as save_steps
    validate_examples: int = 8
    tensorboard: bool = False  # losses, scores, spectrograms and audio for TensorBoard
    # A model or checkpoint whose weights to start from, where names and shapes fit; of several, one after the other.
    init: str | list[str] | None = None

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Options:
        """Checked against the fields above; ConfigError names the nearest one to a typo."""
        known = cls.__dataclass_fields__
        for key in section:
            if key not in known:
                raise ConfigError(f"training: unknown key {key!r}{nearest(key, known)}")
        options = cls(**section)
        for field in fields(cls):
            _check(field.name, str(field.type), getattr(options, field.name))
        options.check_parts(1)
        return options

    def check_parts(self, processes: int) -> None:
        """ConfigError unless the batch can be divided evenly, and as the objective allows."""
        parts = processes * self.accumulate
        if self.batch % parts:
            each = f"{processes} processes x {self.accumulate} parts" if processes > 1 else f"{self.accumulate} parts"
            raise ConfigError(
                f"training: batch={self.batch} cannot be divided into {each}; make it a multiple of {parts}"
            )
        if self.adversary and self.accumulate > 1:
            raise ConfigError(
                "training: the adversary is balanced over a whole batch, which accumulate > 1 never sees; "
                "use more processes or a smaller batch instead, or adversary=false"
            )


_POSITIVE = {"steps", "batch", "accumulate", "segment_seconds", "learning_rate", "clip", "log_every"}
_POSITIVE |= {"timeout_seconds"}
_KINDS = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
    "str | list[str] | None": ((str, list, NoneType), "text or a list of texts"),
}


def _check(name: str, kind: str, value: Any) -> None:
    """ConfigError unless the value has the field's type (a whole number will do for a float) and is large enough."""
    types, words = _KINDS[kind]
    items = value if isinstance(value, list) else []
    right = isinstance(value, types) and all(isinstance(item, str) for item in items)
    if not right or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"training: {name} must be {words}, got {value!r}")
    if isinstance(value, int | float) and (value < 0 or (value == 0 and name in _POSITIVE)):
        raise ConfigError(f"training: {name} must be {'more than' if name in _POSITIVE else 'at least'} 0, got {value}")
