"""What a visitor may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from exdiff.cli.enhancing.options import RESULT
from exdiff.core.errors import ConfigError
from exdiff.core.stems import STEMS

SPEECH, VOCALS = KINDS = ("speech", "vocals")
MOST_DRAWN, MOST_STEPS = 4, 100
OWN_STEPS = -1  # the choice of the number that the model has itself


class Limits(NamedTuple):
    """What is refused: files of `megabytes` (2^20 bytes) and more, and recordings that are longer than `minutes`."""

    megabytes: float
    minutes: float


@dataclass(frozen=True)
class Request:
    """What a visitor asks for.

    Attributes:
        kind: "speech" or "vocals".
        steps: of the sampler, None for the model's own.
        samples: drawn beside the result, to see where they differ; 1 draws none.
    """

    kind: str = SPEECH
    steps: int | None = None
    strength: float = 1.0
    seed: int = 0
    samples: int = 1

    def check(self) -> Request:
        """The request unchanged, if nothing in it is out of range; the enhancer checks strength and seed.

        Raises:
            ConfigError: something is.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"unknown kind {self.kind!r}; allowed: {', '.join(KINDS)}")
        if not 1 <= self.samples <= MOST_DRAWN:
            raise ConfigError(f"samples must be 1 to {MOST_DRAWN}, got {self.samples}")
        if self.steps is not None and not 0 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"steps must be 0 to {MOST_STEPS}, got {self.steps}")
        return self

    @property
    def whats(self) -> tuple[str, ...]:
        """What is written, as `exdiff enhance` calls it."""
        return STEMS if self.kind == VOCALS else (RESULT,)
