"""`exdiff enhance` as a process: interrupts, bugs, the progress bar, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from exdiff.cli.enhancing import file as enhance_file
from exdiff.core.progress import AudioBar


def test_an_interrupt_leaves_no_half_written_file(tmp_path, run, noise, model, monkeypatch):
    noise(tmp_path / "x.wav")
    monkeypatch.setattr(AudioBar, "advance", lambda self, amount: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
    try:
        result = run("enhance", tmp_path / "x.wav", "--model", model)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert result.stderr == "exdiff: interrupted; unfinished files were removed\n"
    assert os.listdir(tmp_path) == ["x.wav"]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division\nby zero"), MemoryError(), UnicodeError("é"), KeyError(3)]
)
def test_a_bug_ends_one_file_and_not_the_batch(tmp_path, run, noise, model, monkeypatch, error):
    for name in ("a.wav", "b.wav", "c.wav"):
        noise(tmp_path / name)
    original = enhance_file.write_parts

    def fail(reader, *arguments):
        if reader.path.name == "b.wav":
            raise error
        return original(reader, *arguments)

    monkeypatch.setattr(enhance_file, "write_parts", fail)
    arguments = ["enhance", tmp_path, "-o", tmp_path / "out", "--model", model, "--steps", 0, "--overwrite"]
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'b.wav'}: internal error: {type(error).__name__}" in result.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["a.wav", "c.wav"]
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["status"] for record in records] == ["done", "failed", "done"]
    assert type(error).__name__ in records[1]["error"] and records[1]["input"] == str(tmp_path / "b.wav")
    monkeypatch.setenv("EXDIFF_DEBUG", "1")
    assert "Traceback" in run(*arguments).stderr


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
