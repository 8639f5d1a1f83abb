"""Several processes do what one does, and none is left waiting for one that is gone."""

from __future__ import annotations

import signal

import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.training.world import join_world


@pytest.mark.parametrize("change", ["training.adversary=false", "training.adversary=true"])
def test_two_processes_reach_the_weights_of_one(tmp_path, start, start_two, lines, log, change):
    plan = ["training.batch=4", "training.steps=20", "training.workers=1", "training.validate_examples=3", change]
    plan += ["training.seed=3"]  # see test_accumulation_takes_the_same_steps
    children = [start(tmp_path / "one", *plan), *start_two(tmp_path / "two", *plan)]
    for child in children:
        assert child.end() == 0, child.said()
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("one", "two"))
    assert two["step"] == 20
    for part in ("model", "ema"):
        a, b = (torch.cat([v.flatten().float() for v in run[part].values()]) for run in (one, two))
        assert (a - b).norm() < 2e-4 * a.norm()
    for a, b in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert (a["step"], a["learning_rate"]) == (b["step"], b["learning_rate"])
        for key in ("loss", "extractor", "diffusion", "grad_norm"):
            assert b[key] == pytest.approx(a[key], rel=1e-2, abs=1e-3), "of the whole batch, not of one half"
    scores = [log(tmp_path / name)[-2]["validation"] for name in ("one", "two")]
    assert scores[1] == pytest.approx(scores[0], abs=0.02), "of all examples, not of every other"
    assert children[2].said() == "", "the first process speaks for all"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_gone_ends_the_run_with_one_line(tmp_path, start_two, number):
    first, second = start_two(tmp_path / "run", "training.steps=100000", "training.timeout_seconds=10")
    first.reach(4)
    second.send(number)
    assert first.end() == 2
    (line,) = first.said().splitlines()
    assert "error: process 0 of 2: another process of this run is gone, or was silent for 10 s;" in line
    assert "--resume" in line
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] >= 4, "nothing was lost"


def test_a_signal_to_one_stops_all_in_good_order(tmp_path, start_two):
    children = start_two(tmp_path / "run", "training.steps=100000")
    children[0].reach(4)
    children[1].send(signal.SIGTERM)
    assert [child.end() for child in children] == [130, 130]
    assert "saved" in children[0].said()
    assert (tmp_path / "run" / "state.pt").is_file()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, got 'two'"),
        ({"WORLD_SIZE": "2"}, "RANK is not one of 0 to WORLD_SIZE - 1; start with torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is not one of 0 to WORLD_SIZE - 1"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "not MASTER_ADDR and MASTER_PORT; start with torchrun"),
    ],
)
def test_an_environment_without_sense_is_a_clear_error(monkeypatch, variables, message):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        join_world("cpu", "fp32", 1.0)


def test_without_accelerate_several_processes_are_a_clear_error(monkeypatch):
    variables = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "LOCAL_RANK": "0"}
    for name, value in {**variables, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(ConfigError, match=r"pip install 'exdiff\[train\]'"):
        join_world("cpu", "fp32", 1.0)
