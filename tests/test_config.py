"""Building parts from sections, and messages that help."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from exdiff.config import Recipe, build, nearest
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


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "1E-03", ".1e-2", "+10e-4", "0.001"])
def test_numbers_with_an_exponent_are_numbers(text, tmp_path):
    """YAML 1.1 reads 1e-3 as a word; nobody who writes it means one."""
    assert Recipe.load("debug", [f"training.learning_rate={text}"]).training["learning_rate"] == 0.001
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: debug\ntraining: {{learning_rate: {text}}}\n")
    assert Recipe.load(path).training["learning_rate"] == 0.001


@pytest.mark.parametrize("text", ["e3", "1e", "v1e-3", "1e-3s"])
def test_words_stay_words(text):
    assert Recipe.load("debug", [f"name={text}"]).name == text
