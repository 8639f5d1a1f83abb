"""Recipes: configuration as data, checked before anything runs.

A recipe is one YAML file with sections of plain values; `base: NAME` inherits another recipe. A section that names a
`type` is turned into an object by `build`, which checks every key against the constructor: a typo is an error that
names the nearest key. What is *not* here: no component ever sees the recipe, only its own arguments.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from exdiff.errors import ConfigError

T = TypeVar("T")
Section = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model: its parts, its data, its training and how it is sampled.

    Example:
        >>> Recipe.load("debug", ["training.steps=3"]).training["steps"]
        3
    """

    name: str
    description: str = ""
    licence: str = "Apache-2.0"
    sample_rate: int = 16000  # Hz, inside the model
    channels: int = 1  # that the model hears together: 2 for stereo
    stage: str = "diffusion"  # "extractor" trains the discriminative model alone, "diffusion" the whole
    transform: Section = field(default_factory=dict)
    extractor: Section = field(default_factory=dict)
    fusion: Section = field(default_factory=dict)
    backbone: Section = field(default_factory=dict)
    path: Section = field(default_factory=dict)
    model: Section = field(default_factory=dict)
    sampler: Section = field(default_factory=dict)
    enhancer: Section = field(default_factory=dict)
    data: Section = field(default_factory=dict)
    training: Section = field(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
        """Read a recipe by name (see `names`) or path, resolve `base:` and apply `key.sub=value` overrides.

        Raises:
            ConfigError: no such recipe, unknown key, or an override that is not `key=value`.
        """
        table = _read(source)
        for override in overrides:
            _apply(table, override)
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """Check the top-level keys and make a recipe of a plain table; a section that is null is empty."""
        allowed = [f.name for f in fields(cls)]
        for key in table:
            if key not in allowed:
                raise ConfigError(f"recipe: unknown key {key!r}{nearest(key, allowed)}")
        if "name" not in table:
            raise ConfigError("recipe: the key 'name' is missing")
        values: dict[str, Any] = {k: {} if v is None and k in _SECTIONS else v for k, v in table.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe as plain values, as stored in a checkpoint."""
        return asdict(self)


_SECTIONS = {f.name for f in fields(Recipe) if f.type == "Section"}


def names() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("exdiff") / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def build(table: Mapping[str, Callable[..., T]], section: Mapping[str, Any], **context: Any) -> T:
    """Make the object that `section` describes: `table[section["type"]](**the other keys, **context)`.

    Context that the constructor does not name is left out, so parts take only what they need.

    Raises:
        ConfigError: unknown type, unknown or missing key, or a value that the constructor refuses.

    Example:
        >>> build({"pair": complex}, {"type": "pair", "real": 1, "imag": 2})
        (1+2j)
    """
    options = dict(section)
    kind = options.pop("type", None)
    if kind not in table:
        raise ConfigError(f"unknown type {kind!r}{nearest(str(kind), table)}")
    factory = table[kind]
    known = inspect.signature(factory).parameters
    for key in options:
        if key not in known:
            raise ConfigError(f"{kind}: unknown key {key!r}{nearest(key, known)}")
    try:
        return factory(**{k: v for k, v in context.items() if k in known}, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind}: {error}") from error


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` or the list of what is allowed: the tail of a message about an unknown word."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(allowed) or 'none'}"


def check_names(what: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse words that are not allowed.

    Raises:
        ValueError: names the first of them and the nearest allowed one.
    """
    for name in given:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}{nearest(name, allowed)}")


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise ConfigError(f"recipe {str(source)!r} does not exist")
        text = path.read_text(encoding="utf-8")
    elif str(source) in names():
        text = (resources.files("exdiff") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        raise ConfigError(f"unknown recipe {str(source)!r}{nearest(str(source), names())}")
    try:
        table = _parse(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {str(source)!r} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"recipe {str(source)!r} must be a table of sections, got {type(table).__name__}")
    base = table.pop("base", None)
    if base is None:
        return table
    sibling = path.parent / f"{base}.yaml"
    return _merge(_read(sibling if path.suffix and sibling.is_file() else base), table)


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Sections merge key by key; one that changes its `type` starts afresh, since the old keys mean nothing to it."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("type", old.get("type")) == old.get("type"):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _apply(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r} must look like section.key=value")
    *parents, last = key.split(".")
    section = table
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
    try:
        section[last] = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r} has an unreadable value") from error


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for a word; everybody else, YAML 1.2 included, for a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)
