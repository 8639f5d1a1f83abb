"""What is measured about a machine: not by a busy moment, once, and for all threads and processes alike."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time

import pytest

from exdiff.core import measure
from exdiff.core.measure import Answer, measured, remembered, time_ratio


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path))
    monkeypatch.setattr(measure, "_answers", {})
    return tmp_path


def new_process(monkeypatch):
    """Forget what this process has in memory."""
    monkeypatch.setattr(measure, "_answers", {})


class Machine:
    """A clock that work moves on: two ways of computing, and a load that slows whatever runs meanwhile."""

    def __init__(self, candidate, reference, load=lambda now: 1.0):
        self.now, self.load, self.calls = 0.0, load, []
        self.times = {"candidate": candidate, "reference": reference}

    def perf_counter(self):
        return self.now

    def work(self, name):
        def run():
            self.calls.append(name)
            self.now += self.times[name] * self.load(self.now)

        return run

    def ratio(self, monkeypatch):
        monkeypatch.setattr(measure.time, "perf_counter", self.perf_counter)
        return time_ratio(self.work("candidate"), self.work("reference"))


def test_a_quiet_machine(monkeypatch):
    assert Machine(0.02, 0.05).ratio(monkeypatch) == pytest.approx(0.4)


@pytest.mark.parametrize("start", [0.0, 0.03, 0.1, 0.2])
@pytest.mark.parametrize("length", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("candidate", [0.008, 0.0125])
def test_a_busy_moment_decides_nothing(monkeypatch, start, length, candidate):
    """Something else takes nine tenths of the processor for a while, whenever it begins."""
    machine = Machine(candidate, 0.01, lambda now: 10.0 if start <= now < start + length else 1.0)
    assert machine.ratio(monkeypatch) == pytest.approx(candidate / 0.01, rel=0.02)


def test_the_two_are_timed_in_turn(monkeypatch):
    machine = Machine(0.001, 0.002)
    machine.ratio(monkeypatch)
    assert machine.calls == ["candidate", "reference"] * (len(machine.calls) // 2)
    assert len(machine.calls) > 20


def test_a_machine_that_never_rests_is_not_measured_for_ever(monkeypatch):
    slower = itertools.count(1000, -1)
    machine = Machine(0.01, 0.02, lambda now: 1.0 + max(0, next(slower)))
    machine.ratio(monkeypatch)
    assert len(machine.calls) < 1000


def test_the_answer_is_kept_with_the_ratio_it_rests_on(monkeypatch, folder):
    assert remembered("way", lambda: 0.31) is True
    assert remembered("other", lambda: 0.99) is False
    new_process(monkeypatch)
    assert remembered("way", lambda: pytest.fail("measured again")) is True
    assert remembered("other", lambda: pytest.fail("measured again")) is False
    assert measured() == {"way": Answer(True, 0.31), "other": Answer(False, 0.99)}
    [table] = json.loads((folder / "machine.json").read_text()).values()
    assert table["way"] == {"faster": True, "ratio": 0.31}


@pytest.mark.parametrize(("ratio", "faster"), [(0.94, True), (0.96, False), (1.0, False), (float("inf"), False)])
def test_between_near_equals_the_reference_stays(folder, ratio, faster):
    assert remembered("way", lambda: ratio) is faster


@pytest.mark.parametrize(
    "content",
    ["damaged", "[]", "3", '{"KIND": 3}', '{"KIND": {"way": true}}', '{"KIND": {"way": {"faster": 1, "ratio": "x"}}}'],
)
def test_a_file_that_says_nothing_is_measured_anew(monkeypatch, folder, content):
    kind = json.dumps(measure._kind())[1:-1]
    (folder / "machine.json").write_text(content.replace("KIND", kind))
    assert remembered("way", lambda: 0.5) is True
    new_process(monkeypatch)
    assert remembered("way", lambda: pytest.fail("measured again")) is True


def test_what_is_known_about_other_machines_stays(folder):
    other = {"another processor": {"way": {"faster": False, "ratio": 1.5}, "newer": [1]}}
    (folder / "machine.json").write_text(json.dumps(other))
    assert remembered("way", lambda: 0.5) is True
    tables = json.loads((folder / "machine.json").read_text())
    assert tables["another processor"] == other["another processor"]


def test_the_first_of_two_processes_decides(monkeypatch, folder):
    """Both measure at once, with different outcomes: the later one takes over what is in the file by then."""

    def slow():
        remembered_elsewhere()
        return 0.5

    def remembered_elsewhere():
        measure._keep(folder / "machine.json", measure._kind(), "way", Answer(False, 1.2))

    assert remembered("way", slow) is False
    assert measured()["way"] == Answer(False, 1.2)


def test_threads_agree_even_without_a_file(monkeypatch, folder):
    (folder / "machine.json").mkdir()  # neither readable nor writable
    outcomes = iter([0.5, 2.0, 0.5, 2.0])
    found = []

    def ratio():
        time.sleep(0.02)
        return next(outcomes)

    threads = [threading.Thread(target=lambda: found.append(remembered("way", ratio))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


@pytest.mark.parametrize("obstacle", ["file", "unreadable"])
def test_a_cache_that_cannot_be_written_only_costs_the_measuring(monkeypatch, tmp_path, obstacle):
    blocked = tmp_path / "blocked"
    if obstacle == "file":
        blocked.write_text("a file where the folder should be")
    else:
        blocked = type(blocked)(os.devnull) / "cache"
    monkeypatch.setenv("EXDIFF_CACHE", str(blocked))
    counted = []
    for _ in range(2):
        new_process(monkeypatch)
        assert remembered("way", lambda: counted.append(1) or 0.5) is True
    assert len(counted) == 2
    assert measured() == {}
