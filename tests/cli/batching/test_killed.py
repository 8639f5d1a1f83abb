"""Workers and drivers that are killed: every file is there once and whole, what was finished is not done again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import suppress

import pytest

from exdiff.cli.enhancing import claims

from ..conftest import records, wait_for
from .conftest import both_engines, contents, processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs POSIX signals and /proc")


@both_engines
def test_workers_that_are_killed(engine, batch, tmp_path, noise, killer):
    """One of them once; and whichever works on `deadly.wav`, until that is given up."""
    for name in ("1.wav", "2.wav", "3.wav"):
        noise(tmp_path / "in" / name)
    out = tmp_path / "out"
    for name in ("deadly.wav", "unlucky.wav"):
        noise(tmp_path / "in" / name, seconds=60)
    once, always = killer(out / "unlucky.wav", times=1), killer(out / "deadly.wav", times=9)
    result = batch(tmp_path / "in", out, *engine, "--retries", 1, "--json")
    assert (result.exit_code, len(once), len(always)) == (1, 1, 2)
    assert Counter(record["status"] for record in records(result.stdout)) == {"done": 4, "failed": 1}
    assert {path.name for path in out.glob("*.wav")} == {"1.wav", "2.wav", "3.wav", "unlucky.wav"}
    first, second = result.stderr.splitlines()
    assert "/in/deadly.wav: the " in first and " that enhanced it ended" in first
    assert second == f"exdiff: 1 of 5 files failed, as {out}/failures.jsonl lists"
    (row,) = records((out / "failures.jsonl").read_text())
    assert (row["input"], row["attempts"]) == (str(tmp_path / "in" / "deadly.wav"), 2)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_driver_that_is_killed(engine, start, batch, tmp_path, noise):
    for number in range(7):
        noise(tmp_path / "in" / f"{number}.wav", seconds=20)
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    running = start(tmp_path / "in", out, "--engine", engine, "--workers", 2, "--report", report)
    workers = set()

    def at_work():
        workers.update(claimants(out))
        return [worker for worker in workers if claims._start_of(worker) is not None]

    wait_for(lambda: at_work() and list(out.glob("*.wav")))
    running.kill()
    running.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    assert len(before) < 5
    # A worker that Ray kills leaves its claim, which the next run takes over.
    wait_for(lambda: not (at_work() or processes_with(str(tmp_path))), seconds=120)
    during = {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    assert len(during) <= len(before) + 2, "workers end with their driver"
    result = batch(tmp_path / "in", out, "--workers", 1, "--report", report)
    assert (result.exit_code, result.output) == (0, "")
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    assert after.keys() == {path.name for path in (tmp_path / "in").iterdir()}
    assert after | during == after, "what was there is not done again"
    done = Counter(r["input"] for r in records(report.read_text()) if r["status"] == "done")
    assert set(done.values()) == {1}


def claimed(folder):
    return list(folder.glob(".*.claim"))


def claimants(folder):
    """Numbers of the processes that write now."""
    found = set()
    for claim in claimed(folder):
        with suppress(OSError, ValueError):  # gone, or not written yet
            found.add(json.loads(claim.read_text())["pid"])
    return found


@pytest.mark.parametrize(("engine", "workers"), [("ray", 2), ("gpu", 1)], indirect=["engine"])
def test_an_ended_run_leaves_nothing_unfinished(engine, workers, start, tmp_path, noise):
    """SIGTERM, of which Ray has a handler of its own. On a GPU, a worker has several files under way."""
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.wav", seconds=600)
    running, out = start(tmp_path / "in", tmp_path / "out", *engine), tmp_path / "out"
    wait_for(lambda: len(list(out.glob(".*.part"))) == (2 if workers == 2 else 3))
    assert len(claimants(out)) == workers
    running.terminate()
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")
    assert contents(out) == {}
