"""The systems that are compared: models by name with options, and folders with another program's results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError, DataError, DivergenceError
from exdiff.evaluation.pairs import audio_index, read_audio

Enhance = Callable[[np.ndarray, int], np.ndarray]

MIXTURE = "mixture"  # the system that does nothing
OPTIONS: dict[str, Callable[[str], Any]] = {"steps": int, "sampler": str, "seed": int, "strength": float}


class EstimateFolder:
    """Estimates on disk: files named like the data, with any suffix; for songs also `SONG.vocals.*` or `SONG/vocals.*`.

    Raises:
        DataError: no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"the folder of estimates {str(folder)!r} does not exist")
        self.folder = folder
        self._index = audio_index(folder)

    def require(self, names: Iterable[str]) -> None:
        """Raise before any work if an estimate is missing.

        Raises:
            DataError: with the number of missing ones and the first of them.
        """
        missing = [name for name in names if self._find(name) is None]
        if missing:
            raise DataError(
                f"{str(self.folder)!r} lacks the estimates of {len(missing)} files; the first is {missing[0]!r}"
            )

    def read(self, name: str) -> tuple[np.ndarray, int]:
        """Samples [T] or [C, T] and rate (Hz) of the estimate of item `name`.

        Raises:
            DataError: there is none.
            AudioError: the file cannot be read.
        """
        path = self._find(name)
        if path is None:
            raise DataError(f"{str(self.folder)!r} has no estimate of {name!r}")
        return read_audio(path)

    def _find(self, name: str) -> Path | None:
        """The file named like the item; for a song also the names that `exdiff enhance --stems` and separators use."""
        names = (name, f"{name}.vocals", f"{name}.stem.vocals", f"{name}/vocals")
        return next((self._index[n] for n in names if n in self._index), None)


System = Enhance | EstimateFolder


def parse_model(text: str) -> tuple[str, dict[str, Any]]:
    """Split `NAME[@key=value,...]` into the model and the options of its calls.

    Raises:
        ConfigError: an unknown key or an unreadable value.

    Example:
        >>> parse_model("speech@steps=0,seed=3")
        ('speech', {'steps': 0, 'seed': 3})
    """
    name, separator, tail = text.rpartition("@")
    if not separator or "=" not in tail:  # an @ in a path
        return text, {}
    options: dict[str, Any] = {}
    for item in tail.split(","):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in OPTIONS:
            raise ConfigError(f"model {text!r}: unknown option {key!r}{nearest(key, OPTIONS)}")
        try:
            options[key] = OPTIONS[key](value)
        except ValueError:
            kind = OPTIONS[key].__name__
            raise ConfigError(f"model {text!r}: {key} must be of type {kind}, got {value!r}") from None
    if not 0.0 <= options.get("strength", 1.0) <= 1.0:
        raise ConfigError(f"model {text!r}: strength must lie in [0, 1], got {options['strength']}")
    if options.get("steps", 0) < 0:
        raise ConfigError(f"model {text!r}: steps must be 0 or more, got {options['steps']}")
    return name, options


def load_enhancer(text: str) -> Enhance:
    """The enhancer described by `NAME[@key=value,...]`, with its options bound.

    Raises:
        ConfigError: see `parse_model`.
        CheckpointError: the model cannot be loaded.
    """
    from exdiff.inference.loading import (
        load,  # not above: a worker process imports this module, and must not wait for torch
    )

    name, options = parse_model(text)
    enhance = functools.partial(load(name), **options)
    # A model's first call builds kernels and buffers, which would count in the first file's real-time factor.
    with suppress(DivergenceError):  # then it says so of every file
        enhance(np.random.default_rng(0).normal(0.0, 0.1, 8000).astype(np.float32), 16000)
    return enhance


def locate_weights(text: str) -> Path:
    """The path of the weights of the model described by `NAME[@key=value,...]`.

    Raises:
        ConfigError: see `parse_model`.
        CheckpointError: no such model.
    """
    from exdiff.checkpoints.checkpoint import locate

    return locate(parse_model(text)[0])


def load_systems(models: Sequence[str], estimates: Sequence[Path]) -> dict[str, System]:
    """Models, then folders of estimates, by their names in the report.

    Raises:
        ConfigError: one is given twice, or has the mixture's name.
        DataError: a folder does not exist.
    """
    folders = [(path.name, path) for path in estimates]
    taken = [*models, MIXTURE]
    names = [str(path) if [*taken, *(n for n, _ in folders)].count(name) > 1 else name for name, path in folders]
    every = [*models, *names]
    for name in every:
        if name == MIXTURE or every.count(name) > 1:
            raise ConfigError(f"the system {name!r} is given twice; the mixture itself is always evaluated")
    table: dict[str, System] = {name: EstimateFolder(path) for name, (_, path) in zip(names, folders, strict=True)}
    loaded: dict[str, System] = {text: load_enhancer(text) for text in models}
    return {**loaded, **table}
