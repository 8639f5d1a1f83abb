"""From plain tables to checked objects, and messages that help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest

from exdiff.core.config import build, check_names, from_table, limited, nearest
from exdiff.core.errors import ConfigError


class Filter:
    def __init__(self, cutoff: float, order: int = 2, kind: Literal["low", "high"] = "low") -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        check_names("kind", [kind], ("low", "high"))
        self.cutoff, self.order = cutoff, order


def broken(cutoff: float) -> Filter:
    """A constructor with a bug."""
    return Filter(cutoff, 2, "low", 4)  # type: ignore[call-arg]


def unlucky(error: str) -> Filter:
    raise {"key": KeyError, "attribute": AttributeError, "type": TypeError}[error]("a bug")


TABLE = {"filter": Filter, "pair": complex, "broken": broken, "unlucky": unlucky, "steep": partial(Filter, order=8)}


def test_builds_what_the_section_names():
    made = build(TABLE, {"type": "filter", "cutoff": 80, "order": 4})
    assert (made.cutoff, made.order) == (80, 4)


def test_context_reaches_only_constructors_that_name_it_and_a_key_overrides_it():
    assert build(TABLE, {"type": "filter"}, cutoff=50.0, sample_rate=16000).cutoff == 50.0
    assert build(TABLE, {"type": "filter", "cutoff": 70.0}, cutoff=50.0).cutoff == 70.0


def test_the_section_is_left_as_it_was():
    section = {"type": "filter", "cutoff": 1.0}
    build(TABLE, section)
    assert section == {"type": "filter", "cutoff": 1.0}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "fliter"}, r"unknown type 'fliter'; did you mean 'filter'\?"),
        ({"cutoff": 1.0}, "unknown type None; allowed: "),
        ({"type": ["filter"], "cutoff": 1.0}, r"unknown type \['filter'\]"),
        ({"type": "filter", "cutof": 1.0}, r"filter: unknown key 'cutof'; did you mean 'cutoff'\?"),
        ({"type": "filter"}, "filter: .*'cutoff'"),
        ({"type": "broken"}, "broken: .*'cutoff'"),
        ({"type": "filter", "cutoff": 1.0, "order": 0}, "filter: order must be at least 1, got 0"),
        ({"type": "filter", "cutoff": "low"}, "filter: cutoff must be a number, got 'low'"),
        ({"type": "filter", "cutoff": [1, 2]}, r"filter: cutoff must be a number, got \[1, 2\]"),
        ({"type": "filter", "cutoff": 1.0, "order": True}, "filter: order must be a whole number, got True"),
        ({"type": "steep", "cutoff": None}, "steep: cutoff must be a number, got None"),
        ({"type": "filter", "cutoff": 1.0, "kind": "hihg"}, r"filter: unknown kind 'hihg'; did you mean 'high'\?"),
    ],
)
def test_a_wrong_section_is_the_users_mistake(section, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(TABLE, section)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", ["key", "attribute", "type"])
def test_any_other_error_inside_a_constructor_is_a_bug_and_rises_as_it_is(error):
    with pytest.raises((KeyError, AttributeError, TypeError), match="a bug"):
        build(TABLE, {"type": "unlucky", "error": error})
    with pytest.raises(TypeError, match="positional arguments"):
        build(TABLE, {"type": "broken", "cutoff": 1.0})


@dataclass
class Options:
    steps: int = limited(10, least=1)
    rate: float = limited(0.5, above=0, most=1)
    name: str = "x"
    loud: bool = False
    mode: Literal["fast", "slow", 1] = "fast"
    span: tuple[float, float] = limited((0.0, 1.0), least=-5, most=5)
    sizes: tuple[int, ...] = (1, 2)
    files: str | list[str] | None = None
    limit: float | None = limited(None, above=2)
    weights: Mapping[str, float] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    channels: Sequence[int] = ()


@pytest.mark.parametrize(
    "table",
    [
        {"steps": 1},
        {"rate": 1},
        {"rate": 1e-9},
        {"name": ""},
        {"loud": True},
        {"mode": "slow"},
        {"mode": 1},
        {"span": (-5, 5.0)},
        {"sizes": ()},
        {"files": "a"},
        {"files": ["a", "b"]},
        {"files": None},
        {"limit": None},
        {"limit": 2.5},
        {"weights": {"a": 1, "b": 0.5}},
        {"table": {"a": None, "b": {"c": [1]}}},
        {"channels": [1, 2]},
        {"steps": np.int64(3)},
        {"rate": np.float32(0.25)},
    ],
)
def test_a_value_that_fits_is_taken_as_it_is(table):
    made = from_table(Options, table, "options")
    for key, value in table.items():
        assert getattr(made, key) == value
        assert type(getattr(made, key)) is type(value)


def test_lists_become_tuples_where_the_field_is_one():
    made = from_table(Options, {"span": [0, 1], "sizes": [3], "files": ["a"]}, "options")
    assert (made.span, made.sizes, made.files) == ((0, 1), (3,), ["a"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"steps": 0}, "options: steps must be at least 1, got 0"),
        ({"steps": 2.0}, "options: steps must be a whole number, got 2.0"),
        ({"steps": False}, "steps must be a whole number, got False"),
        ({"steps": None}, "steps must be a whole number, got None"),
        ({"steps": "1"}, "steps must be a whole number, got '1'"),
        ({"rate": 0}, "rate must be more than 0, got 0"),
        ({"rate": 1.01}, "rate must be at most 1, got 1.01"),
        ({"rate": float("nan")}, "rate must be a number, got nan"),
        ({"rate": True}, "rate must be a number, got True"),
        ({"name": 3}, "name must be text, got 3"),
        ({"loud": 1}, "loud must be true or false, got 1"),
        ({"loud": "yes"}, "loud must be true or false, got 'yes'"),
        ({"mode": "medium"}, "mode must be 'fast' or 'slow' or 1, got 'medium'"),
        ({"mode": True}, "mode must be .* got True"),
        ({"mode": ["fast"]}, r"mode must be .* got \['fast'\]"),
        ({"span": [0]}, r"span must be a list of 2 numbers, got \[0\]"),
        ({"span": [0, 1, 2]}, r"span must be a list of 2 numbers, got \[0, 1, 2\]"),
        ({"span": 3}, "span must be a list of 2 numbers, got 3"),
        ({"span": [0, "1"]}, r"span must be a list of 2 numbers, got \[0, '1'\]"),
        ({"span": [0, float("nan")]}, "span must be a list of 2 numbers"),
        ({"span": [-6, 0]}, r"span must be at least -5, got \[-6, 0\]"),
        ({"span": [0, 6]}, r"span must be at most 5, got \[0, 6\]"),
        ({"sizes": [1, 2.5]}, r"sizes must be a list, got \[1, 2.5\]"),
        ({"sizes": "12"}, "sizes must be a list, got '12'"),
        ({"files": [1]}, r"files must be text or a list of texts, got \[1\]"),
        ({"files": {"a": 1}}, "files must be text or a list of texts"),
        ({"limit": 2}, "limit must be more than 2, got 2"),
        ({"limit": float("nan")}, "limit must be a number, got nan"),
        ({"weights": {"a": "high"}}, "weights must be a table of numbers, got {'a': 'high'}"),
        ({"weights": {"a": True}}, "weights must be a table of numbers"),
        ({"weights": [1]}, r"weights must be a table of numbers, got \[1\]"),
        ({"table": 3}, "table must be a table, got 3"),
        ({"channels": 8}, "channels must be a list, got 8"),
        ({"channels": [8, None]}, r"channels must be a list, got \[8, None\]"),
        ({"stesp": 1}, r"options: unknown key 'stesp'; did you mean 'steps'\?"),
        ({1: 1}, "options: unknown key 1"),
    ],
)
def test_a_value_that_does_not_fit_is_named(table, message):
    with pytest.raises(ConfigError, match=message) as caught:
        from_table(Options, table, "options")
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_refusal_of_the_class_itself():
    @dataclass
    class Window:
        low: float
        high: float = 1.0

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError(f"low {self.low} is above high {self.high}")

    assert from_table(Window, {"low": 0.5}, "window") == Window(0.5)
    with pytest.raises(ConfigError, match="window: the key 'low' is missing"):
        from_table(Window, {"high": 2.0}, "window")
    with pytest.raises(ConfigError, match="window: low 3 is above high 2"):
        from_table(Window, {"low": 3, "high": 2}, "window")


def test_nearest_lists_what_is_allowed_when_nothing_is_near():
    assert nearest("xyz", ["b", "a"]) == "; allowed: a, b"
    assert nearest("xyz", []) == "; allowed: none"
    assert nearest("exponentail", ["exponential", "heun"]) == "; did you mean 'exponential'?"
