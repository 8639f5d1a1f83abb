"""The settings of one call, checked before any audio is touched, and the record of what the call did."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from exdiff.core.config import check_types, nearest
from exdiff.core.errors import ConfigError
from exdiff.model.samplers import SAMPLERS, Sampler, check_bridge, schedule

_SCHEDULE_KEYS = frozenset(inspect.signature(schedule).parameters) - {"path", "steps"}
_RESERVED_KEYS = frozenset({"predict", "x", "times", "path", "generator", "callback"})


class CallOptions(TypedDict, total=False):
    """Keyword arguments of every call of an `Enhancer`; see `Enhancer.__call__`."""

    seed: int
    steps: int | None
    strength: float
    sampler: Sampler | str | None
    channels_last: bool


@dataclass
class Run:
    """The record of one call; that of a stream grows while the stream is read.

    Attributes:
        nfe: evaluations of the score network for each window; the extractor is not counted.
        seconds: of computing.
        audio_seconds: of signal that has gone in, overlaps counted once, all items of a batch together.
        windows: how many were enhanced, of all items of a batch together.
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
class CallSettings:
    """The choices of one call, checked; see `Enhancer.__call__`.

    Attributes:
        rate: of the signal, Hz.
        options: of the sampler and of `schedule`.
        stems: the rest of the signal is returned as well.
        floor: share of the input that stays in the result in any case.
    """

    rate: int
    seed: int
    steps: int
    strength: float
    sampler: Sampler | None
    options: Mapping[str, Any]
    stems: bool = False
    channels_last: bool = False
    floor: float = 0.0

    @property
    def share(self) -> float:
        """Of the model's output in the result; the rest is the input."""
        return self.strength * (1 - self.floor)

    def check(self, model: Any) -> CallSettings:
        """The settings unchanged, if `model` supports them.

        Raises:
            ConfigError: a number out of range, an option that is unknown or has a wrong value, or a model that lacks a
                part these settings need.
        """
        for name, value in (("steps", self.steps), ("seed", self.seed)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ConfigError(f"{name} must be a whole number, 0 or more, got {value!r}")
        if not isinstance(self.strength, int | float | np.number) or not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"strength must lie in [0, 1], got {self.strength!r}")
        if not isinstance(self.channels_last, bool):
            raise ConfigError(f"channels_last must be True or False, got {self.channels_last!r}")
        if self.steps == 0 and model.extractor is None:
            raise ConfigError("steps=0 gives the extractor's estimate, but this model has no extractor; use 1 or more")
        if self.steps > 0 and model.path is None:
            raise ConfigError(f"this model is an extractor alone: it works with steps=0 only, got {self.steps}")
        if self.steps > 0 and self.sampler is None:
            raise ConfigError(f"steps={self.steps} needs a sampler; allowed: {', '.join(SAMPLERS)}")
        if self.sampler is not None:
            grid, options = split_options(self.sampler, self.options)
            check_types("sampler", grid, schedule)
            check_types("sampler", options, self.sampler)
            if self.steps > 0:
                check_bridge(self.sampler, model.path, getattr(model, "output", "denoised"), options)
                schedule(model.path, self.steps, **grid)
        return self


def check_use(sampler: Sampler | str | None, steps: int) -> None:
    """Raise ConfigError for a sampler that would not be used."""
    if sampler is not None and steps == 0:
        raise ConfigError("with steps=0 no sampler is used; leave it out, or take 1 or more steps")


def resolve_sampler(sampler: Sampler | str | None) -> Sampler | None:
    """The sampler of that name; a function or None is returned unchanged.

    Raises:
        ConfigError: an unknown name.
    """
    if sampler is None or callable(sampler):
        return sampler
    if sampler not in SAMPLERS:
        raise ConfigError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    return SAMPLERS[sampler]


def split_options(sampler: Sampler, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options split into those of `schedule` and those of the sampler.

    Raises:
        ConfigError: a key that neither accepts.

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
    """Names of the options that a sampler and its schedule accept."""
    return (frozenset(inspect.signature(sampler).parameters) - _RESERVED_KEYS) | _SCHEDULE_KEYS
