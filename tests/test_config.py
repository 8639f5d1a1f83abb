"""Building parts from sections, and messages that help."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from exdiff.config import build, nearest
from exdiff.errors import ConfigError


@dataclass
class Filter:
    cutoff: float
    order: int = 2

    def __post_init__(self):
        if self.order < 1:
            raise ValueError(f"order must be at least 1, got {self.order}")


TABLE = {"filter": Filter, "pair": complex}


def test_builds_what_the_section_names():
    assert build(TABLE, {"type": "filter", "cutoff": 80.0, "order": 4}) == Filter(80.0, 4)


def test_context_reaches_only_those_who_name_it():
    assert build(TABLE, {"type": "filter"}, cutoff=50.0, sample_rate=16000) == Filter(50.0)


def test_the_section_is_left_as_it_was():
    section = {"type": "filter", "cutoff": 1.0}
    build(TABLE, section)
    assert section == {"type": "filter", "cutoff": 1.0}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "fliter"}, r"unknown type 'fliter'; did you mean 'filter'\?"),
        ({"cutoff": 1.0}, "unknown type None; allowed: filter, pair"),
        ({"type": "filter", "cutof": 1.0}, r"filter: unknown key 'cutof'; did you mean 'cutoff'\?"),
        ({"type": "filter"}, "filter: .*'cutoff'"),
        ({"type": "filter", "cutoff": 1.0, "order": 0}, "filter: order must be at least 1, got 0"),
    ],
)
def test_a_wrong_section_says_what_is_wrong(section, message):
    with pytest.raises(ConfigError, match=message):
        build(TABLE, section)


def test_nearest_lists_what_is_allowed_when_nothing_is_near():
    assert nearest("xyz", ["b", "a"]) == "; allowed: a, b"
    assert nearest("xyz", []) == "; allowed: none"
    assert nearest("exponentail", ["exponential", "heun"]) == "; did you mean 'exponential'?"
