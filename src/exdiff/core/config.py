"""From plain tables to checked objects: the one way for sections of recipes, training options and mixes.

`build` makes the part that a section names by its `type`; `from_table` fills a dataclass. Both reject an unknown key,
suggesting the nearest known one, and a value of the wrong type, before anything runs.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import numbers
import operator
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from exdiff.core.errors import ConfigError

T = TypeVar("T")

# The limits of `limited`: words for a message, and the test.
_LIMITS = {"least": ("at least", operator.ge), "above": ("more than", operator.gt), "most": ("at most", operator.le)}
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a table",
    Mapping: "a table",
    types.NoneType: "null",
}


def build(table: Mapping[str, Callable[..., T]], section: Mapping[str, Any], **context: Any) -> T:
    """Make the object that `section` describes: `table[section["type"]](**the other keys, **context)`.

    Context that the constructor has no parameter for is dropped, so that parts take only what they need.

    Raises:
        ConfigError: unknown type, unknown or missing key, a value of another type than the parameter's annotation, or
            one that the constructor refuses with a ValueError. Any other error inside the constructor is a bug and is
            raised unchanged.

    Example:
        >>> build({"pair": complex}, {"type": "pair", "real": 1, "imag": 2})
        (1+2j)
    """
    options = dict(section)
    kind = options.pop("type", None)
    if not isinstance(kind, str) or kind not in table:
        raise ConfigError(f"unknown type {kind!r}{nearest(str(kind), table)}")
    factory = table[kind]
    signature = inspect.signature(factory)
    check_keys(kind, options, signature.parameters)
    arguments = {k: v for k, v in context.items() if k in signature.parameters} | options
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{kind}: {error}") from None
    check_types(kind, options, factory)
    try:
        return factory(**arguments)
    except ValueError as error:
        raise ConfigError(f"{kind}: {error}") from error


@contextmanager
def in_section(name: str) -> Iterator[None]:
    """A ConfigError raised inside begins with the name of the section.

    Example:
        >>> with in_section("fusion"):
        ...     build({"film": dict}, {"type": "filmm"})
        Traceback (most recent call last):
        exdiff.core.errors.ConfigError: fusion: unknown type 'filmm'; did you mean 'film'?
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error.__cause__


def from_table(cls: type[T], table: Mapping[str, Any], name: str) -> T:
    """An instance of the dataclass `cls` with its fields set from `table`; those not in it keep their defaults.

    A list becomes a tuple if the field is one; the limits of `limited` fields are checked.

    Args:
        cls: a dataclass with annotated fields.
        table: plain values, as YAML gives them.
        name: what to call the table in messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type, length or size.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Range:
        ...     snr_db: tuple[float, float] = (0.0, 10.0)
        >>> from_table(Range, {"snr_db": [-5, 5]}, "mix")
        Range(snr_db=(-5, 5))
    """
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    check_keys(name, table, known)
    for key, item in known.items():
        if key not in table and item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{name}: the key {key!r} is missing")
    hints = typing.get_type_hints(cls)
    try:
        return cls(**{key: _checked(f"{name}: {key}", known[key], hints[key], value) for key, value in table.items()})
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def limited(default: Any, *, least: float | None = None, above: float | None = None, most: float | None = None) -> Any:
    """A dataclass field whose value, or each number in it, `from_table` holds to these limits.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Options:
        ...     steps: int = limited(10, least=1)
        >>> from_table(Options, {"steps": 0}, "training")
        Traceback (most recent call last):
        exdiff.core.errors.ConfigError: training: steps must be at least 1, got 0
    """
    limits = {"least": least, "above": above, "most": most}
    return field(default=default, metadata={name: bound for name, bound in limits.items() if bound is not None})


def check_keys(name: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Reject keys that `name` does not have.

    Raises:
        ConfigError: names the first unknown key and the nearest known one.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ConfigError(f"{name}: unknown key {key!r}{nearest(str(key), known)}")


def check_types(name: str, options: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Reject values of another type than the annotation of the function's parameter.

    Raises:
        ConfigError: names the first one, and what is allowed.
    """
    hints = _hints(function)
    for key, value in options.items():
        # A Literal is left to the constructor, whose message suggests the nearest word.
        if typing.get_origin(hints.get(key)) is not typing.Literal:
            _check_type(f"{name}: {key}", hints.get(key, Any), value)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` or the list of what is allowed: the end of a message about an unknown word."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(allowed) or 'none'}"


def check_names(what: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Reject words that are not allowed.

    Raises:
        ValueError: names the first unknown word and the nearest allowed one.
    """
    for name in given:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}{nearest(name, allowed)}")


def _checked(name: str, item: Field[Any], hint: Any, value: Any) -> Any:
    """The value as the field wants it; ConfigError if it does not fit."""
    _check_type(name, hint, value)
    for number in value if isinstance(value, list | tuple) else [value]:
        for limit, bound in item.metadata.items():
            words, keeps = _LIMITS[limit]
            if number is not None and not keeps(number, bound):
                raise ConfigError(f"{name} must be {words} {bound}, got {value!r}")
    return tuple(value) if typing.get_origin(hint) is tuple and isinstance(value, list) else value


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the parameters, as far as they can be resolved."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    try:
        return typing.get_type_hints(factory.__init__ if isinstance(factory, type) else factory)
    except (NameError, TypeError):
        return {}


def _check_type(name: str, hint: Any, value: Any) -> None:
    if not _fits(value, hint):
        raise ConfigError(f"{name} must be {_describe(hint)}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of the annotated type. An integer passes for a float, anything for a type not plain."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, kind) for kind in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(word) and value == word for word in arguments)
    if origin is tuple and Ellipsis not in arguments:
        fitting = isinstance(value, list | tuple) and len(value) == len(arguments)
        return fitting and all(_fits(v, kind) for v, kind in zip(value, arguments, strict=True))
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and all(_fits(v, arguments[0]) for v in value)
    if origin in (dict, Mapping):
        fitting = isinstance(value, Mapping)
        return fitting and all(_fits(k, arguments[0]) and _fits(v, arguments[1]) for k, v in value.items())
    if hint not in _WORDS:
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, numbers.Real) and value == value  # not NaN
    return isinstance(value, numbers.Integral if hint is int else hint)  # NumPy's numbers are numbers too


def _describe(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(kind) for kind in arguments if kind is not types.NoneType)
    if origin is typing.Literal:
        return " or ".join(repr(word) for word in arguments)
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)} numbers"
    if origin in (list, tuple, Sequence) and arguments[0] is str:
        return "a list of texts"
    if origin in (dict, Mapping) and arguments[1] in (int, float):
        return "a table of numbers"
    return _WORDS.get(origin or hint, getattr(hint, "__name__", str(hint)))
