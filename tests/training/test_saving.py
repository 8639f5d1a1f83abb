"""States are written beside the training, are those of the step at which they were taken, and no error is lost."""

from __future__ import annotations

import copy
import threading
import time

import pytest
import torch

from exdiff.checkpoints import load_model
from exdiff.core.errors import CheckpointError
from exdiff.training import loop, saving, train
from exdiff.training import state as states
from exdiff.training.saving import Saver


def saved(folder):
    return torch.load(folder / "state.pt", weights_only=True)


@pytest.fixture
def trained(tmp_path, recipe):
    """The state of a run of one step, and a saver into another folder."""
    plan = recipe("training.steps=1", "training.adversary=true")
    state = train(plan, tmp_path / "run")
    (tmp_path / "other").mkdir()
    saver = Saver(plan, tmp_path / "other")
    yield state, saver
    saver.close()


def test_a_state_is_of_the_step_at_which_it_was_taken(tmp_path, trained, monkeypatch):
    state, saver = trained
    gate, write, done = threading.Event(), saving.write, []
    monkeypatch.setattr(saving, "write", lambda *arguments: gate.wait(60) and write(*arguments))
    weights, averaged = (copy.deepcopy(m.state_dict()) for m in (state.model, state.ema.module))
    saver.save(state, lambda: done.append("written"))
    assert not done
    assert not list((tmp_path / "other").iterdir()), "training goes on before anything is written"
    for each in (*state.model.parameters(), *state.ema.parameters(), *state.adversary.parameters()):
        each.data.zero_()
    gate.set()
    saver.wait()
    assert done == ["written"]
    content = saved(tmp_path / "other")
    assert all(torch.equal(content["model"][key], value) for key, value in weights.items())
    assert any(value.any() for value in content["adversary"]["weights"].values())
    stored = load_model(tmp_path / "other" / "model")[0].state_dict()
    assert all(torch.equal(stored[key], value) for key, value in averaged.items())


@pytest.fixture
def full_disk(monkeypatch):
    """`full_disk(step)`: the state of this step is written by half."""
    write = torch.save

    def fill(step):
        def save(content, file) -> None:
            if content["step"] == step:
                file.write(b"half a state")
                raise OSError("No space left on device")
            write(content, file)

        monkeypatch.setattr(states.torch, "save", save)

    return fill


def test_a_failed_write_is_noticed_soon_and_leaves_the_state_before(tmp_path, trained, full_disk):
    state, saver = trained
    saver.save(state, lambda: None)
    full_disk(2)
    state.step = 2
    saver.save(state, lambda: pytest.fail("it was not written"))
    with pytest.raises(CheckpointError, match="cannot save the run in .*: No space left"):
        while True:
            saver.check()
            time.sleep(0.001)
    assert states.newest(tmp_path / "other")[1]["step"] == 1
    saver.check()
    saver.wait()  # said once


def test_a_run_that_cannot_be_saved_ends_and_goes_on_when_it_can(tmp_path, recipe, full_disk, monkeypatch, same):
    plan = recipe("training.steps=6", "training.save_steps=1")
    train(plan, tmp_path / "whole")
    full_disk(3)
    with pytest.raises(CheckpointError, match="No space left"):
        train(plan, tmp_path / "full")
    monkeypatch.undo()
    assert train(plan, tmp_path / "full", resume=True).step == 6
    same(tmp_path / "whole", tmp_path / "full")


def test_a_run_that_breaks_waits_for_what_is_being_written(tmp_path, recipe, monkeypatch):
    write, step = saving.write, loop.train_step

    def slow(*arguments) -> None:
        time.sleep(0.3)
        write(*arguments)

    def broken(state, *arguments):
        if state.step == 1:
            raise ZeroDivisionError
        return step(state, *arguments)

    monkeypatch.setattr(saving, "write", slow)
    monkeypatch.setattr(loop, "train_step", broken)
    with pytest.raises(ZeroDivisionError):
        train(recipe("training.steps=2", "training.save_steps=1"), tmp_path)
    assert saved(tmp_path)["step"] == 1
