"""The choices of one enhancement, checked before any audio is touched, and the record of what it did."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch

from exdiff.config import nearest
from exdiff.errors import ConfigError
from exdiff.samplers import SAMPLERS, Sampler, schedule

_SCHEDULE_KEYS = frozenset(inspect.signature(schedule).parameters) - {"path", "steps"}
_RESERVED_KEYS = frozenset({"predict", "x", "times", "path", "generator", "callback"})


class CallOptions(TypedDict, total=False):
    """What every call of an `Enhancer` takes; see `Enhancer.__call__`."""

    seed: int
    steps: int | None
    strength: float
    sampler: Sampler | str | None


@dataclass
class Run:
    """What a call did.

    Attributes:
        nfe: evaluations of the score network that each window took; the extractor is not counted.
        seconds: of computing.
        audio_seconds: of signal that has gone in, overlaps not counted twice.
        windows: how many there were.
    """

    nfe: int = 0
    seconds: float = 0.0
    audio_seconds: float = 0.0
    windows: int = 0

    @property
    def rtf(self) -> float:
        """Real-time factor: seconds of computing per second of audio; 0 when there was none."""
        return self.seconds / self.audio_seconds if self.audio_seconds else 0.0


@dataclass(frozen=True)
class Job:
    """The choices of one call; `rate` is the signal's, in Hz, and `floor` the share of it that stays in any case."""

    rate: int
    seed: int
    steps: int
    strength: float
    sampler: Sampler | None
    options: Mapping[str, Any]
    stems: bool
    floor: float = 0.0

    @property
    def share(self) -> float:
        """Of the model's output in the result; the rest is the input."""
        return self.strength * (1 - self.floor)

    def check(self, model: Any) -> Job:
        """Itself, if `model` can do it.

        Raises:
            ConfigError: a number out of range, an unknown option, or a model without the part that is asked for.
        """
        for name, value in (("steps", self.steps), ("seed", self.seed)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ConfigError(f"{name} must be a whole number, 0 or more, got {value!r}")
        if not isinstance(self.strength, int | float | np.number) or not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"strength must lie in [0, 1], got {self.strength!r}")
        if self.steps == 0 and model.extractor is None:
            raise ConfigError("steps=0 gives the extractor's estimate, but this model has no extractor; use 1 or more")
        if self.steps > 0 and model.path is None:
            raise ConfigError(f"this model is an extractor alone: it works with steps=0 only, got {self.steps}")
        if self.steps > 0 and self.sampler is None:
            raise ConfigError(f"steps={self.steps} needs a sampler; allowed: {', '.join(SAMPLERS)}")
        if self.sampler is not None:
            split_options(self.sampler, self.options)
        return self


def check_use(sampler: Sampler | str | None, steps: int) -> None:
    """ConfigError for a sampler that was asked for and would not be used."""
    if sampler is not None and steps == 0:
        raise ConfigError("with steps=0 no sampler is used; leave it out, or ask for 1 or more steps")


def resolve_sampler(sampler: Sampler | str | None) -> Sampler | None:
    """A sampler by name, or as it is.

    Raises:
        ConfigError: an unknown name.
    """
    if sampler is None or callable(sampler):
        return sampler
    if sampler not in SAMPLERS:
        raise ConfigError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    return SAMPLERS[sampler]


def split_options(sampler: Sampler, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is for `schedule` and what is for the sampler.

    Raises:
        ConfigError: a key that neither knows.

    Example:
        >>> split_options(SAMPLERS["exponential"], {"t_end": 0.0, "noise_scale": 0.5})
        ({'t_end': 0.0}, {'noise_scale': 0.5})
    """
    known = sampler_keys(sampler)
    for key in options:
        if key not in known:
            raise ConfigError(f"sampler: unknown key {key!r}{nearest(key, known)}")
    grid = {key: value for key, value in options.items() if key in _SCHEDULE_KEYS}
    return grid, {key: value for key, value in options.items() if key not in _SCHEDULE_KEYS}


def sampler_keys(sampler: Sampler) -> frozenset[str]:
    """Names of the options that a sampler and the schedule before it take."""
    return (frozenset(inspect.signature(sampler).parameters) - _RESERVED_KEYS) | _SCHEDULE_KEYS


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" prefers CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: unknown, or not on this machine.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if present[kind]), "cpu"))
    if name.partition(":")[0] not in present:
        raise ConfigError(f"unknown device {name!r}; allowed: auto, {', '.join(present)}")
    if not present[name.partition(":")[0]]:
        raise ConfigError(f"device {name!r} is not available on this machine; use auto or cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}; a number may follow the colon, as in cuda:0") from None
