"""Checkpoints: what is saved comes back, and everything that can be wrong with a folder is said in one line."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exdiff.checkpoints.catalogue import INSTALLABLE
from exdiff.checkpoints.checkpoint import (
    RECIPE,
    WEIGHTS,
    build_model,
    embedded,
    is_path,
    load_matching,
    load_model,
    locate,
    save_model,
)
from exdiff.core.errors import CheckpointError
from exdiff.core.recipe import Recipe

DEBUG = Recipe.load("debug")


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build_model(DEBUG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, DEBUG, tmp_path / "model")
    return model, tmp_path / "model"


def test_round_trip(saved):
    model, folder = saved
    loaded, recipe = load_model(folder)
    assert recipe == DEBUG
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert sorted(p.name for p in folder.iterdir()) == sorted([WEIGHTS, RECIPE]), "nothing temporary is left"
    load_model(str(folder))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_half_precision_on_disk_is_float_in_memory(saved, dtype, tolerance):
    model, folder = saved
    save_model(model, DEBUG, folder, dtype)
    assert {v.dtype for v in load_file(folder / WEIGHTS).values()} == {dtype}
    loaded, _ = load_model(folder)
    for key, value in model.state_dict().items():
        got = loaded.state_dict()[key]
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, value, rtol=tolerance, atol=1e-6)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX systems")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_others_may_read_weights_as_any_new_file(saved, mask):
    before = os.umask(mask)
    try:
        save_model(saved[0], DEBUG, saved[1])
    finally:
        os.umask(before)
    assert [stat.S_IMODE((saved[1] / name).stat().st_mode) for name in (WEIGHTS, RECIPE)] == [0o666 & ~mask] * 2


def test_saving_again_replaces(saved):
    model, folder = saved
    torch.nn.init.constant_(next(model.parameters()), 3.0)
    save_model(model, DEBUG, folder)
    assert (next(load_model(folder)[0].parameters()) == 3.0).all()


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(CheckpointError, match=r"unknown model 'spech'.*the path of a checkpoint folder"):
        load_model("spech")
    assert embedded() == sorted(embedded())


@pytest.mark.parametrize("name", embedded()[:1])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_has_a_models_name_does_not_hide_the_model(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    for text in (name, *INSTALLABLE, "mine.ckpt", "mine"):
        Path(text).mkdir() if kind == "folder" else Path(text).touch()
    assert (locate(name) / RECIPE).is_file()
    for installable in INSTALLABLE:
        assert not is_path(installable)
    for text in (f"./{name}", str(tmp_path / name), "mine.ckpt", "mine"):
        assert is_path(text) and locate(text) == Path(text)


def test_a_checkpoint_with_a_models_name_is_one(saved, monkeypatch):
    monkeypatch.chdir(saved[1].parent)
    saved[1].rename(embedded()[0])
    assert is_path(embedded()[0]) and locate(embedded()[0]) == Path(embedded()[0])


@pytest.mark.parametrize("name", embedded())
def test_every_embedded_model_loads(name):
    model, recipe = load_model(name)
    assert model.sample_rate == recipe.sample_rate


@pytest.mark.parametrize("file", [WEIGHTS, RECIPE])
def test_a_missing_file_is_named(saved, file):
    _, folder = saved
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=f"is not a checkpoint: it has no {file}"):
        load_model(folder)


@pytest.mark.parametrize("file", [WEIGHTS, RECIPE])
@pytest.mark.parametrize("damage", ["half", "empty", "garbage"])
def test_a_damaged_file_is_named(saved, file, damage):
    _, folder = saved
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "garbage": b"\xff" * 99}[damage])
    with pytest.raises(CheckpointError, match=rf"{file} is damaged"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([1, 2], "is damaged: it holds a list, not a table"),
        ({"name": "x", "futuristic": {}}, "unknown key 'futuristic'.*another version"),
        ({**DEBUG.to_dict(), "path": {"type": "teleport"}}, "unknown type 'teleport'.*another version"),
    ],
)
def test_a_recipe_of_another_world_is_a_checkpoint_error(saved, change, message):
    _, folder = saved
    (folder / RECIPE).write_text(json.dumps(change))
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


@pytest.mark.parametrize("change", ["less", "more", "shape"])
def test_weights_that_do_not_fit_are_refused(saved, change):
    _, folder = saved
    weights = load_file(folder / WEIGHTS)
    first = sorted(weights)[0]
    if change == "less":
        weights.pop(first)
    else:
        weights[first if change == "shape" else "backbone.extra"] = torch.zeros(2, 2)
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="the weights do not fit the recipe") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_load_matching_takes_what_fits(saved):
    model, folder = saved
    alone = build_model(Recipe.from_dict({**DEBUG.to_dict(), "backbone": {}, "fusion": {}, "path": {}}))
    names = load_matching(alone, str(folder))
    assert names == sorted(alone.state_dict())
    assert all(n.startswith("extractor.") for n in names)
    for name in names:
        assert torch.equal(alone.state_dict()[name], model.state_dict()[name])


def test_load_matching_leaves_other_shapes_and_refuses_nothing_at_all(saved):
    _, folder = saved
    wide = DEBUG.to_dict()
    wide["backbone"] = {**wide["backbone"], "hidden": 5}
    model = build_model(Recipe.from_dict(wide))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    copied = load_matching(model, str(folder))
    assert 0 < len(copied) < len(before)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items() if k not in copied)
    with pytest.raises(CheckpointError, match="none of its weights fit this model"):
        load_matching(torch.nn.Linear(3, 3), str(folder))
    with pytest.raises(CheckpointError, match="unknown model"):
        load_matching(model, str(folder / "nowhere"))


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for a full disk")
def test_a_disk_that_fills_is_one_line_and_leaves_the_old_weights(saved):
    import resource

    model, folder = saved
    before = (folder / WEIGHTS).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"model.safetensors cannot be written: ") as caught:
            save_model(model, DEBUG, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == [WEIGHTS, RECIPE]
    assert (folder / WEIGHTS).read_bytes() == before
