"""The `training` section of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exdiff.core.config import from_table, limited
from exdiff.core.errors import ConfigError
from exdiff.training.adversary import AdversaryOptions


@dataclass(frozen=True)
class Options:
    """The `training` section of a recipe."""

    steps: int = limited(20000, above=0)
    batch: int = limited(6, above=0)  # examples per step, over all processes
    accumulate: int = limited(1, above=0)  # micro-batches per process and step: less memory, the same step
    segment_seconds: float = limited(2.0, above=0)
    optimiser: str = "muon"
    learning_rate: float = limited(2e-3, above=0)
    warmup: int = limited(200, least=0)  # steps
    decay_share: float = limited(0.3, least=0, most=1)  # last share of the run, over which the rate falls to zero
    decay_minutes: float = limited(0.0, least=0)  # if set, decay over the last minutes of --max-minutes instead
    ema: float = limited(0.999, least=0, most=1)
    clip: float = limited(5.0, above=0)
    seed: int = limited(0, least=0)
    precision: str = "auto"
    compile: bool = False  # the networks, by torch.compile
    # Where examples are made: by workers on the host, or in whole batches on the device, by data sets that can do that.
    # auto: on the device, unless that is the CPU.
    mixer: Literal["auto", "host", "device"] = "auto"
    workers: int = limited(1, least=0)  # processes that make examples on the host, per training process
    timeout_seconds: float = limited(120.0, above=0)  # that a process waits for the others
    log_every: int = limited(20, above=0)
    save_minutes: float = limited(4.0, least=0)
    save_steps: int = limited(0, least=0)  # also save at every multiple of this; 0: by the clock alone
    adversary: bool | dict[str, Any] = False  # discriminators judge the denoised estimates; see AdversaryOptions
    validate_minutes: float = limited(10.0, least=0)
    validate_steps: int = limited(0, least=0)  # like save_steps
    validate_examples: int = limited(8, least=0)
    tensorboard: bool = False  # losses, scores, spectrograms and audio for TensorBoard
    # A model or checkpoint to copy weights from where names and shapes fit; several are copied in turn.
    init: str | list[str] | None = None

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Options:
        """The checked options of a section; ConfigError: see `from_table` and `check_batch`."""
        options = from_table(cls, section, "training")
        options.check_batch(1)
        _ = options.discriminators
        return options

    @property
    def discriminators(self) -> AdversaryOptions | None:
        """The options of the discriminators; None without an adversary."""
        if self.adversary is False:
            return None
        return from_table(AdversaryOptions, {} if self.adversary is True else self.adversary, "training.adversary")

    def check_batch(self, processes: int) -> None:
        """ConfigError unless the batch can be divided evenly, in a way that the adversary allows."""
        count = processes * self.accumulate
        if self.batch % count:
            each = f"{self.accumulate} micro-batches"
            each = f"{processes} processes x {each}" if processes > 1 else each
            raise ConfigError(
                f"training: batch={self.batch} cannot be divided into {each}; make it a multiple of {count}"
            )
        if self.adversary is not False and self.accumulate > 1:
            raise ConfigError(
                "training: the adversary is balanced over a whole batch, and accumulate > 1 computes only parts of it; "
                "use more processes or a smaller batch instead, or adversary=false"
            )
