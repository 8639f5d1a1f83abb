"""Recipes: every bundled one loads; inheritance, overrides and typos behave as documented."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core import recipe as recipes
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.backbones import BACKBONES
from exdiff.model.diffusion import PATHS
from exdiff.model.extractors import EXTRACTORS
from exdiff.model.fusion import FUSIONS
from exdiff.model.samplers import SAMPLERS
from exdiff.model.transforms import TRANSFORMS

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


@pytest.mark.parametrize("name", recipes.names())
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
    assert "debug" in recipes.names()


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


def test_a_recipe_that_is_its_own_base_is_one_clear_line(tmp_path):
    alone = write(tmp_path, "alone", "base: alone\nname: x\n")
    with pytest.raises(ConfigError, match=r"alone.* is its own base \(.*alone.yaml -> .*alone.yaml\); remove one"):
        Recipe.load(alone)
    for name, base in (("a", "b"), ("b", "c"), ("c", "b")):
        write(tmp_path, name, f"base: {base}\nname: {name}\n")
    with pytest.raises(ConfigError, match=r"b.yaml -> \S*c.yaml -> \S*b.yaml\)") as caught:
        Recipe.load(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
    assert "a.yaml" not in str(caught.value), "it is not part of the circle"


def test_a_base_may_be_used_by_several_and_at_any_depth(tmp_path):
    """A diamond is not a circle, nor is a chain of recipes."""
    write(tmp_path, "r0", "base: debug\nname: r0\n")
    for number in range(1, 30):
        write(tmp_path, f"r{number}", f"base: r{number - 1}\nname: r{number}\ntraining: {{batch: {number}}}\n")
    assert Recipe.load(tmp_path / "r29.yaml").training["batch"] == 29


def test_overrides_are_read_as_yaml_and_may_be_nested():
    recipe = Recipe.load("debug", ["training.steps=3", "sample_rate=8000", "data.a.b=[1, x]", "path="])
    assert recipe.training["steps"] == 3
    assert recipe.sample_rate == 8000
    assert recipe.data["a"] == {"b": [1, "x"]}
    assert recipe.path == {}


DEBUG = Recipe.load("debug")


@pytest.mark.parametrize(
    ("overrides", "section", "expected"),
    [
        (["path.type=bbed", "path.k=2.0"], "path", {"type": "bbed", "k": 2.0}),
        (["backbone.type=compact", "backbone.hidden=4"], "backbone", DEBUG.backbone | {"hidden": 4}),
        (["backbone.type=ncsnpp", "backbone.nf=8"], "backbone", {"type": "ncsnpp", "nf": 8}),
        (["backbone.hidden=4", "backbone={type: compact}"], "backbone", {"type": "compact", "hidden": 4}),
        (["backbone=", "backbone.type=ncsnpp"], "backbone", {"type": "ncsnpp"}),
        (["data.mix=", "data.mix.speed=[1, 2]"], "data", {"type": "synthetic", "mix": {"speed": [1, 2]}}),
        (["data.mix={a: 1}", "data.mix.b=2"], "data", {"type": "synthetic", "mix": {"a": 1, "b": 2}}),
        (["sampler={steps: 3}"], "sampler", {"steps": 3}),
        (["fusion={}"], "fusion", {}),
        (["extractor="], "extractor", {}),
        (["training.init="], "training", DEBUG.training | {"init": None}),
    ],
)
def test_the_order_of_overrides_does_not_matter(overrides, section, expected):
    for texts in (overrides, overrides[::-1]):
        assert Recipe.load("debug", texts) == replace(DEBUG, **{section: expected})


def test_stage_extractor_leaves_the_diffusion_model_out(tmp_path):
    whole = Recipe.load("speech")
    alone = replace(whole, stage="extractor", backbone={}, fusion={}, path={}, sampler={})
    assert Recipe.load("speech", ["stage=extractor"]) == alone
    assert Recipe.load(write(tmp_path, "mine", "base: speech\nstage: extractor\n")) == alone
    # A checkpoint of the time when nobody read `stage` has what its weights have.
    assert Recipe.from_dict(whole.to_dict() | {"stage": "extractor"}) == replace(whole, stage="extractor")


@pytest.mark.parametrize(
    ("source", "overrides", "section"),
    [
        ("speech-extractor", ["path.type=ouve"], "path"),
        ("vocals-extractor", ["backbone={type: ncsnpp}"], "backbone"),
        ("speech", ["stage=extractor", "training.steps=3", "sampler.steps=4"], "sampler"),
    ],
)
def test_an_override_that_the_stage_has_no_use_for_is_an_error(source, overrides, section):
    with pytest.raises(ConfigError, match=f"with stage=extractor there is no {section}; leave out"):
        Recipe.load(source, overrides)
    assert Recipe.load(source, [*overrides[:-1], f"{section}=", "stage=extractor"]).stage == "extractor"


def test_of_two_overrides_of_one_key_the_last_counts():
    assert Recipe.load("debug", ["training.steps=3", "training.steps=4"]).training["steps"] == 4


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "1E-03", ".1e-2", "+10e-4", "0.001"])
def test_numbers_with_an_exponent_are_numbers(text, tmp_path):
    """YAML 1.1 reads 1e-3 as text, which nobody who writes it means."""
    assert Recipe.load("debug", [f"training.learning_rate={text}"]).training["learning_rate"] == 0.001
    path = write(tmp_path, "mine", f"base: debug\ntraining: {{learning_rate: {text}}}\n")
    assert Recipe.load(path).training["learning_rate"] == 0.001


@pytest.mark.parametrize("text", ["e3", "1e", "v1e-3", "1e-3s"])
def test_words_stay_words(text):
    assert Recipe.load("debug", [f"name={text}"]).name == text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps", "must look like section.key=value"),
        ("=3", "must look like section.key=value"),
        ("backbone=compact", "backbone must be a table, got 'compact'"),
        ("objective=3", "objective must be a table, got 3"),
        ("training.steps.x=3 training.steps=2", "'steps' is a value, not a section"),
        ("sample_rate.x=3", "sample_rate must be a whole number, got {'x': 3}"),
        ("training.steps=[1", "unreadable value"),
        ("trainign.steps=3", r"unknown key 'trainign'; did you mean 'training'\?"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override, message):
    with pytest.raises(ConfigError, match=message):
        Recipe.load("debug", override.split())


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


def test_a_file_that_is_not_text_says_what_is_wrong(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="binary.yaml' is not valid YAML: 'utf-8' codec"):
        Recipe.load(path)


def test_an_unknown_recipe_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown recipe 'debgu'; did you mean 'debug'\?"):
        Recipe.load("debgu")
    with pytest.raises(ConfigError, match="does not exist"):
        Recipe.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.precondition={c_uot: '-1'}", "precondition: unknown key 'c_uot'; did you mean 'c_out'"),
        ("model.precondition={sigma_data: small}", "precondition: sigma_data must be a number, got 'small'"),
        ("model.precondition=edm", "exdiff: precondition must be a table, got 'edm'"),
        ("model.residual=1", "exdiff: residual must be true or false, got 1"),
        ("path.theta=[1, 2]", r"ouve: theta must be a number, got \[1, 2\]"),
        ("backbone.channels=8", "compact: channels must be a list, got 8"),
        ("extractor.blocks=many", "compact: blocks must be a whole number, got 'many'"),
        ("transform.window=3", "stft: window must be text, got 3"),
    ],
)
def test_a_wrong_value_of_a_part_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_model(Recipe.load("debug", [override]))
    assert "\n" not in str(caught.value)
