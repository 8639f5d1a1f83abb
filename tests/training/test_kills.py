"""A run that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exdiff.core.errors import CheckpointError
from exdiff.training import train

CLOCKS = {"minutes", "audio_per_second", "waiting"}


def test_three_kills_in_a_row_lose_nothing(tmp_path, start, log, same):
    plan = ["training.steps=24", "training.save_steps=4", "training.validate_steps=9", "training.workers=1"]
    whole = start(tmp_path / "whole", *plan)
    for kill in range(3):
        child = start(tmp_path / "cut", *plan, "--resume")
        child.reach(random.randint(7 * kill + 1, 7 * kill + 7))
        time.sleep(random.uniform(0, 0.05))  # anywhere: between steps, in one, while it saves
        child.send(signal.SIGKILL)
        assert child.end() == -signal.SIGKILL
    last = start(tmp_path / "cut", *plan, "--resume")
    assert last.end() == whole.end() == 0, last.said()
    same(tmp_path / "whole", tmp_path / "cut")
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    # A kill may fall between a state and the line that says so.
    told = [
        [{k: v for k, v in line.items() if k not in CLOCKS} for line in log(tmp_path / name) if "saved" not in line]
        for name in ("whole", "cut")
    ]
    assert told[0] == told[1], "no line is missing, twice there, or of a run that did not live"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_do_not_outlive_a_killed_run(tmp_path):
    plan = ["training.segment_seconds=0.1", "training.steps=100000", "training.log_every=1", "training.workers=2"]
    command = [sys.executable, "-m", "exdiff", "train", "debug", *plan, "--out", str(tmp_path), "--device", "cpu"]
    with subprocess.Popen(command) as run:
        while not (tmp_path / "log.jsonl").is_file():
            assert run.poll() is None
            time.sleep(0.01)
        workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        run.kill()
    assert len(workers) >= 2
    limit = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < limit, "workers look for their parent every five seconds"
        time.sleep(0.1)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def runs(tmp_path, recipe):
    """A run of 6 steps with states of steps 6 and 4, and one that was not interrupted, of 8."""
    train(recipe("training.save_steps=2", "training.steps=8", "training.decay_share=0"), tmp_path / "whole")
    train(recipe("training.save_steps=2", "training.steps=6", "training.decay_share=0"), tmp_path / "cut")
    return tmp_path


@pytest.fixture
def resumed(recipe):
    """`resumed(out)` goes on to step 8; its state, and what it said."""

    def go_on(out):
        said = []
        plan = recipe("training.save_steps=2", "training.steps=8", "training.decay_share=0")
        return train(plan, out, resume=True, report=said.append), said

    return go_on


def shorten(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [0.0, 0.1, 0.9, "a bit"])
def test_a_damaged_state_is_noticed_and_the_one_before_used(runs, resumed, lines, log, same, damage):
    path = runs / "cut" / "state.pt"
    flip(path) if damage == "a bit" else shorten(path, damage)
    state, said = resumed(runs / "cut")
    assert state.step == 8
    assert "state.pt is damaged" in said[0]
    assert said[0].endswith("going on from state.previous.pt, step 4")
    assert "\n" not in said[0]
    same(runs / "whole", runs / "cut")
    assert [line["step"] for line in lines(runs / "cut")] == [2, 4, 6, 8]
    assert [line["step"] for line in log(runs / "cut") if "validation" in line] == [8]
    shorten(path, 0.5)  # what was damaged has not taken the place of what was whole
    assert resumed(runs / "cut")[1][0].endswith("going on from state.previous.pt, step 6")


def test_a_kill_between_two_names_loses_nothing(runs, resumed, same):
    (runs / "cut" / "state.pt").replace(runs / "cut" / "state.pt.tmp")
    _, said = resumed(runs / "cut")
    assert said[0].endswith("state.pt is missing: going on from state.pt.tmp, step 6")
    same(runs / "whole", runs / "cut")


def test_what_a_killed_save_left_is_of_no_account(runs, resumed, same):
    (runs / "cut" / "state.pt.tmp").write_bytes(b"half a st")
    _, said = resumed(runs / "cut")
    assert said[0] == "going on from step 6"
    same(runs / "whole", runs / "cut")


def test_no_whole_state_at_all_is_a_clear_error(runs, resumed):
    for name in ("state.pt", "state.previous.pt"):
        shorten(runs / "cut" / name, 0.5)
    with pytest.raises(CheckpointError, match=r"state.pt is damaged .* no earlier one is intact; delete") as caught:
        resumed(runs / "cut")
    assert "\n" not in str(caught.value)


def test_a_run_killed_before_its_first_state_begins_anew(tmp_path, recipe, log):
    (tmp_path / "log.jsonl").write_text('{"step": 2, "loss": 1.0}\n{"st')
    said = []
    train(recipe("training.steps=2"), tmp_path, resume=True, report=said.append)
    assert said[0] == f"{tmp_path} holds no state to resume: starting from the beginning"
    assert [line["step"] for line in log(tmp_path)] == [2, 2, 2]
    assert log(tmp_path)[0]["loss"] != 1.0


def test_a_run_that_is_done_stays_as_it_is(tmp_path, recipe, log):
    train(recipe("training.steps=2"), tmp_path)
    before = (tmp_path / "log.jsonl").read_bytes(), (tmp_path / "state.pt").stat().st_mtime_ns
    assert train(recipe("training.steps=2"), tmp_path, resume=True).step == 2
    assert ((tmp_path / "log.jsonl").read_bytes(), (tmp_path / "state.pt").stat().st_mtime_ns) == before


def test_a_state_that_cannot_be_written_is_a_clear_error(tmp_path, recipe):
    (tmp_path / "state.pt.tmp").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="cannot save the run in") as caught:
        train(recipe("training.steps=1"), tmp_path)
    assert "\n" not in str(caught.value)
