"""Signals end a run like Ctrl-C, once, and none is lost."""

import io
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from exdiff import cli
from exdiff.cli.ending import END_SIGNALS, ENDING, Ending


@pytest.fixture
def signals(monkeypatch):
    """The signals as they are, afterwards."""
    monkeypatch.setattr(cli, "limit_spinning", lambda: None)
    before = {number: signal.getsignal(number) for number in END_SIGNALS}
    ENDING.wanted = ENDING._held = False
    yield
    ENDING.wanted = ENDING._held = False
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_ignored_interrupt_stays_ignored(signals, monkeypatch):
    """A shell without job control has its background jobs ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGHUP")
@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_the_run_unless_nohup_prevents_it(signals, monkeypatch, ignored):
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    ended = []

    def work():
        try:
            signal.raise_signal(signal.SIGHUP)
        except KeyboardInterrupt:
            for number in END_SIGNALS:  # a second one must not disturb the cleaning up
                signal.raise_signal(number)
            ended.append(True)

    monkeypatch.setattr(cli, "app", work)
    cli.main()
    assert ended == ([] if ignored else [True])


def test_an_interrupt_within_a_callback_of_c_is_not_lost(signals, tmp_path):
    """cffi prints and drops what a callback raises; the read then ends early, as at the end of a file."""

    class Interrupting(io.BytesIO):
        def readinto(self, buffer):
            signal.raise_signal(signal.SIGINT)
            return super().readinto(buffer)

        def read(self, *size):
            signal.raise_signal(signal.SIGINT)
            return super().read(*size)

    soundfile.write(tmp_path / "x.wav", [0.0] * 9000, 8000)
    ending = Ending()
    signal.signal(signal.SIGINT, ending.handle)
    file = soundfile.SoundFile(Interrupting((tmp_path / "x.wav").read_bytes()))
    assert len(file.read()) == 9000
    with pytest.raises(KeyboardInterrupt):
        list(ending.watch([file]))


def test_the_work_looks_for_a_signal_that_was_lost(signals, tmp_path, run, noise, model):
    """One that came within a callback: nothing is written, and it is no failure of the file."""
    noise(tmp_path / "x.wav")
    ENDING.wanted = True
    result = run("enhance", tmp_path / "x.wav", "--model", model, "--steps", 0)
    assert (result.exit_code, result.stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize("where", ["write_parts", "choose_target"])
def test_an_error_after_a_signal_is_no_error_of_the_file(signals, tmp_path, run, noise, model, monkeypatch, where):
    from exdiff.cli.enhancing import file as enhance_file

    def cut(*arguments, **options):
        ENDING.wanted = True
        raise OSError("truncated, because the read was interrupted")

    for name in ("x.wav", "y.wav"):
        noise(tmp_path / name)
    monkeypatch.setattr(enhance_file, where, cut)
    result = run("enhance", tmp_path, "--model", model, "--steps", 0)
    assert (result.exit_code, result.stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")


class SignalAtLine:
    """A trace function that sends a signal before the given line executed of the files that create and name outputs."""

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, argument):
        if not any(part in frame.f_code.co_filename for part in ("/enhancing/", "/writing/", "/ending.py")):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGTERM)
        return self


# An interrupt between the opening of a file and its `with` leaves the closing to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("part", range(4))
def test_wherever_a_signal_comes_a_file_is_finished_and_reported_or_gone(tmp_path, signals, run, noise, model, part):
    for name in ("x.wav", "y.flac"):
        noise(tmp_path / "in" / name, seconds=0.1)

    def signalled(line):
        """Enhance with a signal before that line; the outputs, and the lines that were left."""
        out, report = tmp_path / str(line), tmp_path / f"{line}.jsonl"
        ENDING.wanted = ENDING._held = False
        signal.signal(signal.SIGTERM, ENDING.handle)
        trace = SignalAtLine(line)
        sys.settrace(trace)
        try:
            result = run("enhance", tmp_path / "in", "-o", out, "--report", report, "--model", model, "--steps", 0)
        finally:
            sys.settrace(None)
        lines = report.read_text().splitlines() if report.exists() else []
        done = [Path(json.loads(line)["input"]).name for line in lines]
        assert sorted(path.name for path in out.glob("*")) == sorted(done)
        assert result.exit_code == (130 if trace.left <= 0 else 0)
        return trace.left

    most = 10**9
    signalled(most)  # whose lines include what is done once in a process
    count = most - signalled(most)
    for line in np.random.default_rng(part).integers(1, count, 12).tolist():
        assert signalled(line) <= 0
