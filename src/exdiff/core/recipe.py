"""Recipes: configuration as data.

A recipe is one YAML file with sections of plain values. `base: NAME` inherits another recipe; overrides from the
command line are merged last, by the same rule. `config.py` turns sections into objects. No component sees the recipe,
only its own arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from exdiff.core.config import from_table, limited, nearest
from exdiff.core.errors import ConfigError

Section = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a model: its parts, its data, its training and its sampling.

    Example:
        >>> Recipe.load("debug", ["training.steps=3"]).training["steps"]
        3
    """

    name: str
    description: str = ""
    licence: str = "Apache-2.0"
    sample_rate: int = limited(16000, above=0)  # Hz, inside the model
    channels: int = 1  # processed together by the model: 2 for stereo
    stage: str = "diffusion"  # "extractor" trains the discriminative model alone, "diffusion" the whole model
    transform: Section = field(default_factory=dict)
    extractor: Section = field(default_factory=dict)
    fusion: Section = field(default_factory=dict)
    backbone: Section = field(default_factory=dict)
    path: Section = field(default_factory=dict)
    model: Section = field(default_factory=dict)
    objective: Section = field(default_factory=dict)
    sampler: Section = field(default_factory=dict)
    enhancer: Section = field(default_factory=dict)
    data: Section = field(default_factory=dict)
    training: Section = field(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
        """Read a recipe by name (see `names`) or path, resolve `base:` and apply `key.sub=value` overrides.

        With `stage: extractor` the sections of the diffusion model are empty.

        Raises:
            ConfigError: no such recipe, unknown key or stage, an override that is not `key=value`, or one of a section
                that the stage does without.
        """
        changes = _overrides(overrides)
        return cls.from_dict(_staged(_merge(_read(source), changes), changes))

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """Make a recipe from a plain table, its top-level keys checked; a section that is null is empty.

        Raises:
            ConfigError: an unknown key, no name, or a section that is not a table.
        """
        values = {k: {} if v is None and k in _SECTIONS else _plain(v) for k, v in _current(table).items()}
        return from_table(cls, values, "recipe")

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe as plain values, as stored in a checkpoint."""
        return asdict(self)


# Stages of training, and the sections that each does without.
STAGES: dict[Any, tuple[str, ...]] = {"extractor": ("fusion", "backbone", "path", "sampler"), "diffusion": ()}
_SECTIONS = {f.name for f in fields(Recipe) if f.type == "Section"}
# Keys that were in `model` before `objective` existed. Recipes and checkpoints of that time are still read.
_MOVED = ("joint", "detach", "denoise_targets", "weights", "extractor_weights", "focus", "last_step")


class _Whole(dict[str, Any]):
    """A section that an override gives as a whole: it replaces the old one instead of being merged into it."""


def _plain(value: Any) -> Any:
    """`value` with plain tables in it."""
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def names() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("exdiff") / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def _read(source: str | Path, readers: tuple[str, ...] = ()) -> dict[str, Any]:
    """The table of a recipe, merged into its bases; `readers` are the recipes it is a base of, to detect a circle."""
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"recipe {str(source)!r} does not exist")
        content, identity = path.read_bytes(), str(path.resolve())
    elif str(source) in names():
        content = (resources.files("exdiff") / "recipes" / f"{source}.yaml").read_bytes()
        identity = str(source)
    else:
        raise ConfigError(f"unknown recipe {str(source)!r}{nearest(str(source), names())}")
    if identity in readers:
        circle = " -> ".join([*readers[readers.index(identity) :], identity])
        raise ConfigError(f"recipe {str(source)!r} is its own base ({circle}); remove one `base:`")
    table = _parsed(content, source)
    base = table.pop("base", None)
    table = _current(table)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError(f"recipe {str(source)!r}: base must be the name of a recipe, got {base!r}")
    sibling = path.parent / f"{base}.yaml"
    parent = _read(sibling if path.suffix and sibling.is_file() else base, (*readers, identity))
    return _merge(parent, table)


def _parsed(content: bytes, source: str | Path) -> dict[str, Any]:
    try:
        table = _parse(content.decode()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {str(source)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"recipe {str(source)!r} must be a table of sections, got {type(table).__name__}")
    return table


def _current(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with its `_MOVED` keys in `objective`; a key given in both sections has the value of `objective`."""
    model, objective = table.get("model"), table.get("objective") or {}
    if not isinstance(model, dict) or not isinstance(objective, dict) or not set(_MOVED) & set(model):
        return dict(table)
    moved = {key: model[key] for key in _MOVED if key in model}
    rest = {key: value for key, value in model.items() if key not in moved}
    # `model={...}` replaced these keys too when they were part of it.
    whole = isinstance(model, _Whole) or isinstance(objective, _Whole) or table.get("objective", {}) is None
    return {
        **table,
        "model": _Whole(rest) if isinstance(model, _Whole) else rest,
        "objective": _Whole(moved | objective) if whole else moved | objective,
    }


def _staged(table: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    # Not in `from_dict`: checkpoints from before this was done hold a backbone in stage "extractor" too.
    stage = table.get("stage", "diffusion")
    if stage not in STAGES:
        raise ConfigError(f"recipe: unknown stage {stage!r}{nearest(str(stage), STAGES)}")
    if unused := [section for section in STAGES[stage] if changes.get(section)]:
        why = f"with stage={stage} there is no {' and no '.join(unused)}"
        raise ConfigError(f"recipe: {why}; leave out what you change there, or take a recipe of the whole model")
    return table | {section: {} for section in STAGES[stage]}


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; one whose `type` changes starts afresh, without the old type's keys."""
    merged = dict(base)
    for key, value in change.items():
        merged[key] = _merge(merged[key], value) if _continues(merged.get(key), value) else value
    return merged


def _continues(old: Any, new: Any) -> bool:
    """Whether `new` changes some keys of the section `old` rather than replacing it."""
    both = isinstance(old, dict) and isinstance(new, dict) and not isinstance(new, _Whole)
    return both and new.get("type", old.get("type")) == old.get("type")


def _overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`section.key=value` texts as one table. Whole sections are set before their keys, so order does not matter."""
    table: dict[str, Any] = {}
    for keys, value, text in sorted(map(_split, texts), key=lambda split: len(split[0])):
        *parents, last = keys
        section = table
        for parent in parents:
            if section.get(parent, {}) is None:  # `section=` emptied it
                section[parent] = _Whole()
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f"override {text!r}: {parent!r} is a value, not a section")
        section[last] = _Whole(value) if isinstance(value, dict) else value
    return _current(table)


def _split(text: str) -> tuple[list[str], Any, str]:
    """The keys and the value of an override, and its text for messages."""
    name, separator, value = text.partition("=")
    keys = name.split(".")
    if not separator or not all(keys):
        raise ConfigError(f"override {text!r} must look like section.key=value")
    try:
        return keys, _parse(value), text
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r} has an unreadable value") from error


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does; to YAML 1.1 it is text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)
