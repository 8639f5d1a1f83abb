"""How many seconds a run has to do, before and while it does them; and what a terminal shows of it."""

import sys

import pytest

from exdiff.cli.enhancing import length as enhance_length
from exdiff.cli.enhancing import run as enhance_run
from exdiff.cli.enhancing.length import Lengths
from exdiff.cli.enhancing.report import Ledger, Outcome


@pytest.fixture
def terminal(monkeypatch):
    for module in (enhance_length, sys.modules["exdiff.cli.enhance"]):
        monkeypatch.setattr(module, "on_terminal", lambda: True)


@pytest.fixture
def files(tmp_path, noise):
    (tmp_path / "bad.wav").write_text("no sound")
    for number in range(4):
        noise(tmp_path / f"{number}.wav", seconds=1 + number)
    return sorted(tmp_path.iterdir())


def test_all_are_measured_while_there_is_time(terminal, files):
    assert Lengths(files).total == pytest.approx(10.0)


def test_the_rest_is_estimated_from_sizes(terminal, files, monkeypatch):
    times = iter([0.0, 1.0, 1.5, 1.9, 2.1, 2.2])  # the deadline passes after three looks
    monkeypatch.setattr(enhance_length.time, "monotonic", lambda: next(times))
    lengths = Lengths(files)
    assert lengths.total == pytest.approx(10.0, rel=0.02)
    lengths.settle(files[0], 1.0)
    lengths.settle(files[4], 0.0)  # it failed
    assert lengths.settled == 1.0
    assert lengths.total == pytest.approx(10.0, rel=0.02)


def test_progress_does_not_look_at_every_file(terminal, tmp_path, monkeypatch):
    class Counted(dict):
        def items(self):
            pytest.fail("looks at all files")

        __iter__ = values = keys = items

    files = []
    for number in range(20):
        files.append(tmp_path / f"{number}.{'wav' if number % 3 else 'flac'}")
        files[-1].write_bytes(bytes(1000 + number))
    known = iter([1.0, None, 2.0, None])
    monkeypatch.setattr(Lengths, "_measured", lambda *_: next(known, None))
    lengths = Lengths(files)
    lengths._left = Counted(lengths._left)
    unknown = [path for number, path in enumerate(files) if number not in (0, 2)]
    assert lengths.total == pytest.approx(3 + sum(path.stat().st_size for path in unknown) / 32_000)
    for number, path in enumerate(files):
        assert lengths.total >= lengths.settled
        lengths.settle(path, 0.5 * (number % 4))
    assert lengths.total == pytest.approx(lengths.settled)
    assert lengths.settled == 15.0


def test_without_a_terminal_nothing_is_opened(files, monkeypatch):
    monkeypatch.setattr(Lengths, "_measured", lambda *_: pytest.fail("opened a file"))
    assert Lengths(files).total is None


def test_a_table_closes_a_run_on_a_terminal(tmp_path, run, noise, model, terminal):
    for name in ("a.wav", "b.wav"):
        noise(tmp_path / "in" / name)
    noise(tmp_path / "out" / "b.wav")
    noise(tmp_path / "in" / "c.wav", rate=44100)
    (tmp_path / "in" / "d.wav").write_text("no sound")
    result = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--skip-existing")
    lines = result.stderr.splitlines()
    table = lines[next(i for i, line in enumerate(lines) if "4 files, 1.4 s of audio in " in line) + 1 :]
    assert table[:3] == ["       2  done", "       1  failed", "       1  skipped"]
    assert table[3] == f" skipped  {tmp_path / 'in' / 'b.wav'}: its results exist"
    assert table[4].startswith(f"  failed  {tmp_path / 'in' / 'd.wav'}: not a readable")
    assert len(table) == 5


def test_one_file_needs_no_table(tmp_path, run, noise, model, terminal):
    noise(tmp_path / "a.wav")
    result = run("enhance", tmp_path / "a.wav", "--model", model)
    assert result.stderr.count("\n") == 1
    assert f"{tmp_path / 'a.wav'} -> {tmp_path / 'a.enhanced.wav'} (" in result.stderr


def test_a_long_table_is_cut(capsys):
    ledger = Ledger(None, to_stdout=False, verbose=True)
    for number in range(40):
        ledger.add(Outcome(f"{number}.wav", [], "failed", error="no"))
    capsys.readouterr()
    ledger.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].strip() == "and 10 more; --report FILE.jsonl lists all"
    assert len(lines) == 2 + 30 + 1


def test_warnings_are_lines_and_fields(capsys):
    ledger = Ledger(None, to_stdout=True, verbose=False)
    ledger.add(Outcome("a.wav", ["b.wav"], "warned", {"rtf": 0.1}, ["a.wav: one", "two"]))
    output = capsys.readouterr()
    assert output.err == "exdiff: warning: a.wav: one\nexdiff: warning: a.wav: two\n"
    assert '"status": "warned"' in output.out and '"warnings": ["a.wav: one", "two"]' in output.out


def test_marks_notice_another_file(tmp_path, noise):
    from pathlib import Path

    from exdiff.cli.enhancing.plan import EnhanceTask

    task = EnhanceTask(
        Path("x"), (tmp_path / "a.wav", tmp_path / "missing"), "same", ("vocals", "accompaniment"), Path()
    )
    noise(tmp_path / "a.wav")
    before = enhance_run.marks_of(task)
    assert before[1] is None and enhance_run.marks_of(task) == before
    (tmp_path / "new").write_bytes((tmp_path / "a.wav").read_bytes())
    (tmp_path / "new").replace(tmp_path / "a.wav")
    assert enhance_run.marks_of(task) != before
