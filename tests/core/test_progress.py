"""Progress is shown on a terminal, and nowhere else; the remaining time can be believed."""

import sys

import pytest

from exdiff.core import progress
from exdiff.core.progress import AudioBar, Pace, on_terminal, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until `clock.now` is set."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_without_a_console_nothing_is_shown(monkeypatch):
    """As under pythonw, or after `2>&-`."""
    monkeypatch.setattr(sys, "stderr", None)
    assert not on_terminal()
    assert list(track([1, 2], "counting")) == [1, 2]


def test_a_terminal_shows_the_bar(terminal):
    assert on_terminal()
    assert list(track(range(3), "counting", total=3)) == [0, 1, 2]


def test_a_pipe_gets_nothing(clock, capsys):
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    bar = AudioBar(10)
    clock.now += 5
    bar.advance(1)
    assert bar._bar is None
    bar.close()
    assert capsys.readouterr() == ("", "")


def test_the_remaining_time_is_right_from_the_first_window_on():
    """A slow machine: windows of 8 s take 40 s each. The time that is left is known within a window."""
    pace = Pace(800.0, now=0.0)
    assert pace.remaining(now=39.0) is None
    for window in range(1, 101):
        pace.report(8.0 * window, now=40.0 * window)
        for later in (0.0, 20.0, 39.0):
            truth = 40.0 * (100 - window) - later
            assert pace.remaining(now=40.0 * window + later) == pytest.approx(max(0.0, truth), abs=1e-6)


def test_the_total_may_be_corrected():
    pace = Pace(100.0, now=0.0)
    pace.report(50.0, now=10.0)
    pace.total = 150.0
    assert pace.remaining(now=10.0) == pytest.approx(20.0)
    pace.total = 40.0  # less than is done
    assert pace.remaining(now=10.0) == 0.0
    pace.total = None
    assert pace.remaining(now=10.0) is None


def test_the_bar_appears_after_two_seconds(clock, terminal):
    bar = AudioBar(10)
    bar.describe("a[b].wav")
    bar.advance(1)
    assert bar._bar is None
    clock.now += 3
    bar.advance(1)
    task = bar._bar.tasks[0]
    assert (task.completed, task.total, task.description) == (2, 10, r"a\[b].wav")
    bar.settle(4.0, 20.0, current=1.0)
    assert (task.completed, task.total) == (5, 20)
    column = bar._bar.columns[-1]
    assert column.render(task).plain == "0:00:09 left"
    bar.close()
    bar.advance(1)
    assert bar._bar is None


def test_the_bar_of_a_pipe_has_no_end(clock, terminal):
    bar = AudioBar(None)
    clock.now += 3
    bar.advance(7)
    assert (bar._bar.tasks[0].completed, bar._bar.tasks[0].total) == (7, None)
    assert bar._bar.columns[-1].render(bar._bar.tasks[0]).plain == "-:--:-- left"
    bar.close()
