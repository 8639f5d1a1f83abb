"""A tiny model on disk, and a way to run the command in this process."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from exdiff.audio import encode
from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.cli import app
from exdiff.core.recipe import Recipe


def records(text):
    """The objects of --json and --report."""
    return [json.loads(line) for line in text.splitlines()]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    recipe = Recipe.load("debug")
    save_model(build_model(recipe), recipe, folder)
    return str(folder)


@pytest.fixture(scope="session")
def batching_model(model, tmp_path_factory):
    """The same weights, with windows computed together as on a GPU."""
    from exdiff.checkpoints.checkpoint import load_model

    folder = tmp_path_factory.mktemp("batching")
    loaded, recipe = load_model(model)
    save_model(loaded, Recipe.from_dict(recipe.to_dict() | {"enhancer": {"batch_windows": 4}}), folder)
    return str(folder)


@pytest.fixture
def run():
    """`run("enhance", path, ...)` -> result with exit_code, stdout, stderr; a traceback fails the test."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def noise():
    """`noise(path, rate=..., channels=..., seconds=...)` writes a file and gives its samples."""

    def write(path, rate=16000, channels=1, seconds=0.7, **options):
        length = round(seconds * rate)
        samples = np.random.default_rng(0).uniform(-0.3, 0.3, (channels, length)).astype(np.float32)
        encode(path, samples, rate, **options)
        return samples

    return write


@pytest.fixture
def batch(tmp_path, run, model):
    """`batch(...)` enhances tmp_path/in into tmp_path/out."""

    def call(*arguments):
        return run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--steps", 0, *arguments)

    return call


@pytest.fixture
def process(tmp_path, model):
    """`process(...)` starts that as a process."""

    def start(*arguments):
        command = [sys.executable, "-m", "exdiff", "enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
        return subprocess.Popen(
            [*map(str, command), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start
