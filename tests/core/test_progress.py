"""Progress is shown on a terminal, and nowhere else."""

import sys

from exdiff.core.progress import on_terminal, track


def test_without_a_console_nothing_is_shown(monkeypatch):
    """As under pythonw, or after `2>&-`."""
    monkeypatch.setattr(sys, "stderr", None)
    assert not on_terminal()
    assert list(track([1, 2], "counting")) == [1, 2]


def test_a_terminal_shows_the_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert on_terminal()
    assert list(track(range(3), "counting", total=3)) == [0, 1, 2]


def test_a_pipe_gets_nothing(capsys):
    assert list(track(iter("ab"), "counting")) == ["a", "b"]
    assert capsys.readouterr() == ("", "")
