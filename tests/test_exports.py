"""Public names exist, are the agreed ones, and cost nothing to import."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import exdiff
from exdiff.core import errors

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(exdiff.__path__, "exdiff.") if not info.name.endswith("__main__")
)
CONTAINERS = {"core", "data", "model"}  # they export nothing themselves, so that a part costs only what it needs
HEAVY = ("av", "librosa", "numba", "onnxruntime", "pesq", "scipy", "speechmos", "torch")


ERRORS = {
    "ExDiffError",
    "AudioError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "TrainingError",
}


def test_the_public_names_are_the_agreed_ones():
    assert set(exdiff.__all__) == {"load", "Enhancer", "ExDiff", "Live", "Recipe", "Run", "__version__"} | ERRORS
    assert dir(exdiff) == sorted(exdiff.__all__)
    for name in exdiff.__all__:
        assert getattr(exdiff, name) is not None


def test_every_error_is_public():
    own = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert set(own) == ERRORS
    assert all(issubclass(getattr(exdiff, name), exdiff.ExDiffError) for name in own)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="enhance_all"):
        exdiff.enhance_all  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists(name):
    module = importlib.import_module(name)
    for export in getattr(module, "__all__", ()):
        assert hasattr(module, export), f"{name}.__all__ names {export}, which does not exist"


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(exdiff.__path__) if info.ispkg])
def test_every_family_says_what_it_exports(name):
    module = importlib.import_module(f"exdiff.{name}")
    if name in CONTAINERS:
        assert module.__doc__
        return
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", ["exdiff", "exdiff.cli", "exdiff.core.config"])
def test_import_is_light(name):
    code = f"import {name}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
