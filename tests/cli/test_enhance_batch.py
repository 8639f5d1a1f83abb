"""Batches: reports, parts, several runs at once, salvage, names that are not UTF-8."""

import os
from collections import Counter
from contextlib import ExitStack

import pytest

from exdiff.audio import decode
from exdiff.cli.enhancing import file as enhance_file
from exdiff.cli.enhancing.claims import claim_path

from .conftest import records

posix = pytest.mark.skipif(os.name != "posix", reason="signals and names are those of POSIX systems")


def test_a_report_has_a_line_per_file_and_continues(tmp_path, batch, noise):
    for name in ("a.wav", "p/b.flac"):
        noise(tmp_path / "in" / name)
    (tmp_path / "in" / "c.wav").write_text("no sound")
    report = tmp_path / "new" / "r.jsonl"
    assert batch("--report", report).exit_code == 1
    first = records(report.read_text())
    assert {(os.path.basename(r["input"]), r["status"]) for r in first} == {
        ("a.wav", "done"),
        ("b.flac", "done"),
        ("c.wav", "failed"),
    }
    assert "not a readable" in next(r["error"] for r in first if r["status"] == "failed")
    # The next run does what failed, what is new and what is gone, after a line that was cut.
    with report.open("a") as file:
        file.write('{"input": "cut')
    noise(tmp_path / "in" / "c.wav")
    noise(tmp_path / "in" / "d.wav")
    (tmp_path / "out" / "p" / "b.flac").unlink()
    before = (tmp_path / "out" / "a.wav").stat().st_mtime_ns
    assert batch("--report", report).exit_code == 0
    assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns == before
    lines = report.read_text().splitlines()
    assert lines[3] == '{"input": "cut'
    assert {os.path.basename(r["input"]) for r in records("\n".join(lines[4:]))} == {"b.flac", "c.wav", "d.wav"}
    result = batch("--report", report, "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert len(report.read_text().splitlines()) == 7


def test_what_is_no_report_is_left_alone(tmp_path, batch, noise):
    noise(tmp_path / "in" / "a.wav")
    (tmp_path / "notes").write_text("my\nnotes\n")
    for place, match in ((tmp_path / "notes", "is not a report"), (tmp_path, "is a folder"), (os.devnull, "a device")):
        result = batch("--report", place)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert match in result.stderr
    assert (tmp_path / "notes").read_text() == "my\nnotes\n"
    assert not (tmp_path / "out").exists()


def test_parts_do_everything_once(tmp_path, batch, noise):
    for number in range(6):
        noise(tmp_path / "in" / f"{number}.wav", seconds=0.2)
    done = [records(batch("--part", f"{part}/3", "--json").stdout) for part in (1, 2, 3)]
    assert Counter(os.path.basename(r["input"]) for part in done for r in part) == Counter(
        f"{number}.wav" for number in range(6)
    )
    assert len(os.listdir(tmp_path / "out")) == 6
    empty = next(n for n in range(1, 99) if batch("--part", f"{n}/99", "--skip-existing").stderr)
    assert batch("--part", f"{empty}/99").stderr == f"exdiff: part {empty}/99 has no files\n"


def test_suffixes_that_are_not_read_are_counted_in_a_line(tmp_path, batch, noise):
    noise(tmp_path / "in" / "a.wav")
    for name in ("b.mid", "c.mid", "d.aax"):
        (tmp_path / "in" / name).touch()
    result = batch()
    assert result.exit_code == 0
    assert result.stderr == "exdiff: warning: 3 files are not read because of their suffix: .aax (1), .mid (2)\n"


def test_a_claimed_file_is_another_runs(tmp_path, batch, noise):
    from exdiff.cli.enhancing.claims import claimed

    for name in ("a.wav", "b.wav"):
        noise(tmp_path / "in" / name)
    with claimed([tmp_path / "out" / "a.wav"]):
        result = batch()
        assert result.exit_code == 1 and "a.wav: another run writes it now" in result.stderr
        result = batch("--skip-existing")
        assert (result.exit_code, result.stderr) == (0, "")
        assert sorted(os.listdir(tmp_path / "out")) == sorted([claim_path(tmp_path / "a.wav").name, "b.wav"])
    assert batch("--skip-existing").exit_code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("finished", [False, True])
def test_what_another_run_did_not_finish_is_done(tmp_path, batch, noise, monkeypatch, jobs, finished):
    """It has claimed two files when this one begins, and ends while the third is enhanced."""
    from exdiff.cli.enhancing import report
    from exdiff.cli.enhancing.claims import claimed

    for name in ("a.wav", "b.wav", "c.wav"):
        noise(tmp_path / "in" / name)
    other, enter = ExitStack(), report.Ledger._enter
    other.enter_context(claimed([tmp_path / "out" / "a.wav", tmp_path / "out" / "b.wav"]))

    def end_the_other(ledger, outcome):
        enter(ledger, outcome)
        if outcome.source.endswith("c.wav"):
            if finished:
                noise(tmp_path / "out" / "a.wav", seconds=0.1)
            other.close()

    monkeypatch.setattr(report.Ledger, "_enter", end_the_other)
    result = batch("--skip-existing", "--jobs", jobs, "--report", tmp_path / "r.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    lengths = {path.name: decode(path)[0].shape[1] for path in (tmp_path / "out").iterdir()}
    assert lengths == {"a.wav": 1600 if finished else 11200, "b.wav": 11200, "c.wav": 11200}
    statuses = [(os.path.basename(r["input"]), r["status"]) for r in records((tmp_path / "r.jsonl").read_text())]
    assert sorted(statuses) == [("a.wav", "skipped" if finished else "done"), ("b.wav", "done"), ("c.wav", "done")]


@pytest.mark.parametrize("option", ["--overwrite", "--skip-existing", None])
def test_what_another_run_writes_meanwhile_is_not_written_again(tmp_path, batch, noise, monkeypatch, option):
    """Between the plan and the claim."""
    noise(tmp_path / "in" / "a.wav")
    if option == "--overwrite":
        noise(tmp_path / "out" / "a.wav")
    original = enhance_file.claimed

    def late(outputs):
        noise(tmp_path / "out" / "a.wav", seconds=0.1)
        return original(outputs)

    monkeypatch.setattr(enhance_file, "claimed", late)
    result = batch(*[option] if option else [])
    assert result.exit_code == (0 if option else 2)
    assert decode(tmp_path / "out" / "a.wav")[0].shape == (1, 1600)
    assert len(os.listdir(tmp_path / "out")) == 1


@posix
@pytest.mark.parametrize("option", ["--skip-existing", "--overwrite"])
def test_two_runs_at_once_share_the_files(tmp_path, process, noise, option):
    names = [f"{number}.wav" for number in range(12)]
    for name in names:
        noise(tmp_path / "in" / name, seconds=3)
        if option == "--overwrite":
            noise(tmp_path / "out" / name, seconds=0.1)
    runs = [process(option, "--json", "--threads", 1) for _ in range(2)]
    done = [r for running in runs for r in records(running.communicate(timeout=120)[0]) if "error" not in r]
    assert Counter(os.path.basename(r["input"]) for r in done) == Counter(names)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(names)


@posix
def test_names_that_are_not_utf_8(tmp_path, batch, noise):
    noise(tmp_path / "in" / "a.wav")
    odd = os.fsdecode(b"b\xe9.wav")
    (tmp_path / "in" / odd).write_bytes((tmp_path / "in" / "a.wav").read_bytes())
    result = batch("--json", "--report", tmp_path / "r.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    assert os.path.basename(records(result.stdout)[1]["input"]) == odd
    assert set(os.listdir(os.fsencode(tmp_path / "out"))) == {b"a.wav", b"b\xe9.wav"}
    assert batch("--report", tmp_path / "r.jsonl").exit_code == 0


def test_names_that_no_file_can_have_concern_themselves_alone(tmp_path, run, noise, model):
    noise(tmp_path / "a.wav")
    result = run(
        "enhance", tmp_path / "a.wav", tmp_path / ("z" * 300 + ".wav"), tmp_path / "none.wav", "--model", model
    )
    assert result.exit_code == 1
    assert [line[:14] for line in result.stderr.splitlines()] == ["exdiff: error:"] * 2
    assert "too long" in result.stderr and "does not exist" in result.stderr
    assert (tmp_path / "a.enhanced.wav").exists()


def test_salvage_says_what_is_missing(tmp_path, batch, noise):
    samples = noise(tmp_path / "in" / "cut.wav", seconds=4)
    noise(tmp_path / "in" / "whole.wav")
    data = (tmp_path / "in" / "cut.wav").read_bytes()
    (tmp_path / "in" / "cut.wav").write_bytes(data[: len(data) // 2])
    refused = batch()
    assert refused.exit_code == 1 and "cut.wav" in refused.stderr
    assert os.listdir(tmp_path / "out") == ["whole.wav"]
    rescued = batch("--salvage", "--skip-existing", "--json")
    assert rescued.exit_code == 1
    assert "warning" in rescued.stderr and "2.00 s are missing: 2.00 s at 2.00 s" in rescued.stderr
    record = records(rescued.stdout)[0]
    assert record["status"] == "salvaged"
    assert record["missing"] == [[pytest.approx(2, abs=0.01), pytest.approx(2, abs=0.01)]]
    assert decode(tmp_path / "out" / "cut.wav")[0].shape[1] == pytest.approx(samples.shape[1] / 2, abs=50)
    assert batch("--salvage", "--overwrite", "--report", tmp_path / "r").exit_code == 1
