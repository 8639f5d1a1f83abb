"""One cache folder, for everything that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from exdiff.checkpoints.catalogue import installed_folder
from exdiff.core import measure
from exdiff.core.folders import cache_folder


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """A user with a home folder and no settings."""
    monkeypatch.delenv("EXDIFF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_it_lies_in_the_users_cache(plain):
    assert cache_folder() == plain / ".cache" / "exdiff"
    assert not cache_folder().exists()


@pytest.mark.parametrize("empty", [True, False])
def test_the_variables_in_order(plain, monkeypatch, tmp_path, empty):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if empty:
        monkeypatch.setenv("EXDIFF_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "exdiff"
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("EXDIFF_CACHE", "~/mine")
    assert cache_folder() == plain / "mine"


@pytest.mark.parametrize("variable", ["EXDIFF_CACHE", "XDG_CACHE_HOME"])
def test_a_relative_folder_becomes_absolute(plain, monkeypatch, tmp_path, variable):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "here")
    assert cache_folder() in (tmp_path / "here", tmp_path / "here" / "exdiff")


def test_without_a_home_there_is_a_place_nevertheless(plain, monkeypatch):
    def homeless(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("HOME")
    assert cache_folder().is_absolute()
    assert cache_folder().name.startswith("exdiff")


def test_models_and_measurements_lie_in_it(plain, monkeypatch, tmp_path):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "own"))
    assert installed_folder("vocals") == tmp_path / "own" / "models" / "vocals"
    monkeypatch.setattr(measure, "_answers", {})
    measure.remembered("way", lambda: 0.5)
    assert (tmp_path / "own" / "machine.json").is_file()
