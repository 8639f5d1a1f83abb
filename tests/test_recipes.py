"""Recipes: every bundled one loads; inheritance, overrides and typos behave as documented."""

from __future__ import annotations

import pytest

from exdiff import config
from exdiff.backbones import BACKBONES
from exdiff.config import Recipe
from exdiff.diffusion import PATHS
from exdiff.errors import ConfigError
from exdiff.extractors import EXTRACTORS
from exdiff.fusion import FUSIONS
from exdiff.samplers import SAMPLERS
from exdiff.transforms import TRANSFORMS

TABLES = {
    "transform": TRANSFORMS,
    "extractor": EXTRACTORS,
    "fusion": FUSIONS,
    "backbone": BACKBONES,
    "path": PATHS,
    "sampler": SAMPLERS,
}


def write(folder, name, text):
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", config.names())
def test_every_recipe_loads_and_names_known_parts(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.sample_rate > 0
    for section, table in TABLES.items():
        kind = getattr(recipe, section).get("type")
        assert kind is None or kind in table, f"{section}: {kind}"
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_debug_recipe_is_bundled():
    assert "debug" in config.names()


def test_base_merges_section_by_section(tmp_path):
    write(
        tmp_path, "parent", "name: parent\nsample_rate: 8000\npath: {type: ouve, theta: 1.5}\ntraining: {steps: 10}\n"
    )
    child = write(tmp_path, "child", "base: parent\nname: child\npath: {theta: 2.0}\ntraining: {batch_size: 2}\n")
    recipe = Recipe.load(child)
    assert (recipe.name, recipe.sample_rate) == ("child", 8000)
    assert recipe.path == {"type": "ouve", "theta": 2.0}
    assert recipe.training == {"steps": 10, "batch_size": 2}


def test_a_section_of_another_type_starts_afresh(tmp_path):
    write(tmp_path, "parent", "name: parent\npath: {type: ouve, theta: 1.5}\n")
    child = write(tmp_path, "child", "base: parent\nname: child\npath: {type: flow}\n")
    assert Recipe.load(child).path == {"type": "flow"}


def test_base_may_name_a_bundled_recipe(tmp_path):
    child = write(tmp_path, "mine", "base: debug\nname: mine\ntraining: {steps: 7}\n")
    recipe = Recipe.load(child)
    assert recipe.training["steps"] == 7
    assert recipe.backbone == Recipe.load("debug").backbone


def test_overrides_are_read_as_yaml_and_may_be_nested():
    recipe = Recipe.load("debug", ["training.steps=3", "sample_rate=8000", "data.a.b=[1, x]", "description="])
    assert recipe.training["steps"] == 3
    assert recipe.sample_rate == 8000
    assert recipe.data["a"] == {"b": [1, "x"]}
    assert recipe.description is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps", "must look like section.key=value"),
        ("=3", "must look like section.key=value"),
        ("sample_rate.x=3", "'sample_rate' is a value, not a section"),
        ("training.steps=[1", "unreadable value"),
        ("trainign.steps=3", r"unknown key 'trainign'; did you mean 'training'\?"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override, message):
    with pytest.raises(ConfigError, match=message):
        Recipe.load("debug", [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nbackbon: {}\n", r"unknown key 'backbon'; did you mean 'backbone'\?"),
        ("sample_rate: 8000\n", "the key 'name' is missing"),
        ("- a\n- b\n", "must be a table of sections, got list"),
        ("name: [x\n", "is not valid YAML"),
        ("base: debgu\nname: x\n", r"unknown recipe 'debgu'; did you mean 'debug'\?"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        Recipe.load(write(tmp_path, "wrong", text))


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown recipe 'debgu'; did you mean 'debug'\?"):
        Recipe.load("debgu")
    with pytest.raises(ConfigError, match="does not exist"):
        Recipe.load(tmp_path / "nowhere.yaml")
