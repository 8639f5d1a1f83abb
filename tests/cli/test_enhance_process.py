"""`exdiff enhance` as a process: interrupts, bugs, the progress bar, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from exdiff.cli import enhance_file as work


def test_an_interrupt_leaves_no_half_written_file(tmp_path, run, noise, model, monkeypatch):
    noise(tmp_path / "x.wav")
    monkeypatch.setattr(work.DelayedProgressBar, "advance", lambda self, amount: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
    try:
        result = run("enhance", tmp_path / "x.wav", "--model", model)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert result.stderr == "exdiff: interrupted; unfinished files were removed\n"
    assert os.listdir(tmp_path) == ["x.wav"]


def test_a_bug_keeps_its_traceback(tmp_path, run, noise, model, monkeypatch):
    noise(tmp_path / "x.wav")
    monkeypatch.setattr(work.DelayedProgressBar, "advance", lambda self, amount: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("enhance", tmp_path / "x.wav", "--model", model)
    assert os.listdir(tmp_path) == ["x.wav"]


def test_the_bar_appears_on_a_terminal_after_two_seconds(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = work.DelayedProgressBar("a[b].wav", 10)
    bar.advance(1)
    assert bar._bar is None
    bar._start -= 3
    bar.advance(1)
    assert bar._bar.tasks[0].completed == 2
    bar.close()


def test_the_real_command(tmp_path, noise, model):
    """`python -m exdiff` in a process of its own: streams apart, exit codes, and SIGTERM cleans up."""
    noise(tmp_path / "x.wav")
    base = [sys.executable, "-m", "exdiff", "enhance", "--model", model, "--json", "--threads", "1"]
    done = subprocess.run([*base, tmp_path / "x.wav"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["channels"] == 1
    noise(tmp_path / "long.wav", seconds=600)
    running = subprocess.Popen([*base, tmp_path / "long.wav"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.terminate()
    _, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")
    assert sorted(os.listdir(tmp_path)) == ["long.wav", "x.enhanced.wav", "x.wav"]
