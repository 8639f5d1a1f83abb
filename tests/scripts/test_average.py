"""The mean of several runs."""

from __future__ import annotations

import sys

import average
import pytest
import torch

from exdiff.checkpoints import build_model
from exdiff.checkpoints.checkpoint import load_model, save_model
from exdiff.core.recipe import Recipe


def call(monkeypatch, *arguments) -> None:
    """The script, called with arguments."""
    monkeypatch.setattr(sys, "argv", ["average.py", *map(str, arguments)])
    average.main()


@pytest.fixture
def runs(tmp_path):
    """Two models of one recipe, and one of another."""
    for number, name in enumerate(("a", "b", "other")):
        recipe = Recipe.load("debug", ["backbone.hidden=4"] if name == "other" else [f"objective.focus=0.{number}"])
        torch.manual_seed(number)
        save_model(build_model(recipe), recipe, tmp_path / name)
    return tmp_path


def test_a_weight_says_how_often_a_run_counts(monkeypatch, runs):
    call(monkeypatch, runs / "mean", runs / "a", f"{runs / 'b'}=3")
    a, b, mean = (load_model(runs / name)[0].state_dict() for name in ("a", "b", "mean"))
    for key, value in mean.items():
        torch.testing.assert_close(value, (a[key] + 3 * b[key]) / 4)
    assert load_model(runs / "mean")[1].objective == load_model(runs / "a")[1].objective


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("a", "other"), "other: its section backbone differs from that of"),
        (("a", "b=0"), "every weight must be more than 0"),
        (("a", "missing"), "missing"),
    ],
)
def test_what_cannot_be_averaged_is_told_in_one_line(monkeypatch, runs, capsys, models, message):
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, runs / "mean", *(runs / name for name in models))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (runs / "mean").exists()


def test_a_model_is_not_overwritten(monkeypatch, runs, capsys):
    before = (runs / "b" / "model.safetensors").read_bytes()
    with pytest.raises(SystemExit):
        call(monkeypatch, runs / "b", runs / "a")
    assert "holds a model already" in capsys.readouterr().err
    assert (runs / "b" / "model.safetensors").read_bytes() == before
