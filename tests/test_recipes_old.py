"""Recipes and checkpoints written before the objective had a section of its own mean what they meant."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from exdiff.checkpoints.checkpoint import embedded, load_recipe, locate
from exdiff.core.recipe import Recipe

KEYS = {
    "joint": True,
    "detach": True,
    "denoise_targets": False,
    "weights": {"complex": 2.0, "total": 0.5},
    "extractor_weights": {"si_sdr": 0.1},
    "focus": 0.25,
    "last_step": 2,
}
REST = {"level": "peak", "output": "noise"}
BASE = {"name": "parent", "model": {"level": "local", "anchor": "estimate"}, "objective": {"focus": 0.9}}


def write(folder, name, table):
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(table))  # JSON is YAML
    return path


def objective(*overrides: str) -> dict[str, object]:
    return Recipe.load("debug", overrides).objective


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_model_means_the_same_in_objective(tmp_path, key):
    one = {key: KEYS[key]}
    old = {**BASE, "model": BASE["model"] | one, "objective": {}}
    new = {**BASE, "objective": one}
    assert Recipe.from_dict(old) == Recipe.from_dict(new)
    assert Recipe.load(write(tmp_path, "old", old)) == Recipe.load(write(tmp_path, "new", new))
    write(tmp_path, "parent", BASE)
    child = {"name": "x", "base": "parent"}
    one_file, other = (write(tmp_path, section, {**child, section: one}) for section in ("model", "objective"))
    assert Recipe.load(one_file) == Recipe.load(other)
    assert Recipe.load(one_file).objective == BASE["objective"] | one
    text = f"{key}={json.dumps(KEYS[key])}"
    assert Recipe.load("debug", [f"model.{text}"]) == Recipe.load("debug", [f"objective.{text}"])


def test_an_old_base_under_a_new_recipe_and_the_other_way_round(tmp_path):
    old, new = {"model": REST | KEYS}, {"model": REST, "objective": KEYS}
    for number, (parent, child) in enumerate([(old, {"objective": {"focus": 1.0}}), (new, {"model": {"focus": 1.0}})]):
        write(tmp_path, f"parent{number}", {"name": "x", **parent})
        recipe = Recipe.load(write(tmp_path, "child", {"base": f"parent{number}", **child}))
        assert recipe.objective == KEYS | {"focus": 1.0}, "the child's value counts, wherever it is"
        assert recipe.model == REST


def test_of_both_in_one_file_or_command_line_objective_counts(tmp_path):
    table = {"name": "x", "model": {"joint": True, "focus": 0.1}, "objective": {"focus": 0.2}}
    assert Recipe.load(write(tmp_path, "both", table)).objective == {"joint": True, "focus": 0.2}
    for texts in permutations(["model.joint=true", "model.focus=0.1", "objective.focus=0.2"]):
        assert objective(*texts) == {"joint": True, "focus": 0.2}


def test_a_nested_key_changes_one_weight():
    for section in ("model", "objective"):
        changed = objective(f"{section}.weights={{complex: 2.0}}", f"{section}.weights.total=0.5")
        assert changed == {"joint": True, "weights": {"complex": 2.0, "total": 0.5}}
    assert Recipe.load("speech", ["model.weights.loudness=0.1"]).objective == (
        Recipe.load("speech").objective | {"weights": Recipe.load("speech").objective["weights"] | {"loudness": 0.1}}
    )


def test_a_whole_section_replaces_the_keys_that_belonged_to_it():
    recipe = Recipe.load("debug", ["model={output: noise, focus: 0.5}"])  # `joint` of the recipe was part of it
    assert (recipe.model, recipe.objective) == ({"output": "noise"}, {"focus": 0.5})
    recipe = Recipe.load("debug", ["model={output: noise}"])
    assert (recipe.model, recipe.objective) == ({"output": "noise"}, {"joint": True})
    assert objective("objective={focus: 0.5}", "model.detach=true") == {"focus": 0.5, "detach": True}
    assert objective("model.detach=true", "objective=") == {"detach": True}


@pytest.mark.parametrize("name", embedded())
def test_the_embedded_recipes_are_read(name):
    table = json.loads((locate(name) / "recipe.json").read_text(encoding="utf-8"))
    recipe = load_recipe(name)
    assert {**recipe.model, **recipe.objective} == {**table["model"], **table.get("objective", {})}
    assert not set(recipe.model) & set(KEYS)
    assert set(recipe.objective) <= set(KEYS)
