"""Several processes, and runs that a signal ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from exdiff.cli.ending import Ending
from exdiff.cli.enhancing import jobs as enhance_jobs
from exdiff.cli.enhancing import run as enhance_run
from exdiff.cli.enhancing.claims import claim_path
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.worker import Worker

from .conftest import records, wait_for

posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX systems")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_processes_do_what_one_does(tmp_path, batch, noise):
    for number in range(5):
        noise(tmp_path / "in" / f"{number}.wav", seconds=0.3 + number / 10)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    result = batch("--jobs", 3, "--threads", 1, "--json", "--report", tmp_path / "r.jsonl")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "bad.wav: not a readable" in result.stderr
    found = records(result.stdout)
    assert Counter(r["status"] for r in found) == {"done": 5, "failed": 1}
    assert len(records((tmp_path / "r.jsonl").read_text())) == 6
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert batch("--threads", 1, "--overwrite").exit_code == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_a_model_that_no_process_can_load_is_one_line(tmp_path, batch, noise):
    for name in ("a.wav", "b.wav"):
        noise(tmp_path / "in" / name)
    result = batch("--jobs", 2, "--model", "speeech")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "unknown model 'speeech'" in result.stderr


@posix
def test_a_process_that_is_killed_costs_its_file_alone(tmp_path, process, noise):
    for number in range(4):
        noise(tmp_path / "in" / f"{number}.wav", seconds=1)
    noise(tmp_path / "in" / "00.wav", seconds=300)
    running = process("--jobs", 2, "--threads", 1, "--json")
    wait_for(lambda: len(list((tmp_path / "out").glob("?.wav"))) == 4)
    claim = json.loads(claim_path(tmp_path / "out" / "00.wav").read_text())
    os.kill(claim["pid"], signal.SIGKILL)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 1
    assert stderr.count("\n") == 1 and "00.wav: the process that enhanced it ended by signal 9" in stderr
    assert Counter(r["status"] for r in records(stdout)) == {"done": 4, "failed": 1}


@posix
@pytest.mark.parametrize(("name", "jobs"), [("SIGINT", 1), ("SIGHUP", 1), ("SIGINT", 2), ("SIGTERM", 2)])
def test_an_ended_run_leaves_nothing_unfinished(tmp_path, process, noise, jobs, name):
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.wav", seconds=300)
    running = process("--jobs", jobs, "--threads", 1)
    wait_for(lambda: len(list((tmp_path / "out").glob(".*.part"))) == jobs)
    running.send_signal(getattr(signal, name))
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")
    assert os.listdir(tmp_path / "out") == []


def children(pid, command=""):
    """Numbers of the processes that `pid` has started and that still run, with `command` in their command line."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if parent == str(pid) and state != "Z" and command in (folder / "cmdline").read_text():
                found.add(int(folder.name))
    return found


@posix
@pytest.mark.parametrize("late", [False, pytest.param(True, marks=linux)])
def test_a_closed_terminal_sends_its_signal_to_all_processes_and_twice(tmp_path, model, noise, late):
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.wav", seconds=300)
    command = [sys.executable, "-m", "exdiff", "enhance", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
    running = subprocess.Popen([*map(str, command), "--jobs", "2"], start_new_session=True, stderr=subprocess.PIPE)
    wait_for(lambda: len(list((tmp_path / "out").glob(".*.part"))) == 2)
    if late:  # the first process hears of the ends of the others and of the signal together
        os.kill(running.pid, signal.SIGSTOP)
    os.killpg(running.pid, signal.SIGHUP)
    os.killpg(running.pid, signal.SIGHUP)
    if late:
        wait_for(lambda: not children(running.pid))
        os.kill(running.pid, signal.SIGCONT)
    _, stderr = running.communicate(timeout=60)
    assert stderr.decode() == "exdiff: interrupted; unfinished files were removed\n"
    assert os.listdir(tmp_path / "out") == []


def test_the_work_is_divided_among_threads(monkeypatch):
    for module in (enhance_jobs, enhance_run):
        monkeypatch.setattr(module, "core_count", lambda: 8)
    task = EnhanceTask(Path("x.wav"), (Path("y.wav"),), "same", ("enhanced",), Path("x.wav"))
    for jobs, threads, files, expected in ((3, None, 9, 2), (8, 4, 9, 1), (4, None, 2, 4), (2, 6, 9, 3)):
        pool = enhance_jobs._Pool([(task, [])] * files, Options(jobs=jobs, threads=threads), None)  # type: ignore
        assert pool._threads == expected


def kill_while_they_load(running, times):
    """Kill the processes that `running` spawns as soon as they are seen, so many of them."""
    killed = set()
    while running.poll() is None and len(killed) < times:
        for number in children(running.pid, "spawn_main") - killed:
            os.kill(number, signal.SIGKILL)
            killed.add(number)
        time.sleep(0.02)
    return len(killed)


@linux
def test_a_process_that_dies_while_it_loads_is_replaced(tmp_path, model, noise):
    """Three in a row at most."""
    for name in ("a.wav", "b.wav"):
        noise(tmp_path / "in" / name)
    line = [sys.executable, "-m", "exdiff", "batch", tmp_path / "in", tmp_path / "out", "--workers", 2]
    line += ["--model", model, "--steps", 0, "--threads", 1]
    for deaths, code, results in ((9, 2, set()), (3, 0, {"a.wav", "b.wav"})):
        running = subprocess.Popen([*map(str, line)], stderr=subprocess.PIPE, text=True)
        assert kill_while_they_load(running, deaths) == min(deaths, 4)
        _, stderr = running.communicate(timeout=60)
        assert (running.returncode, {path.name for path in (tmp_path / "out").glob("*.wav")}) == (code, results)
        assert ("not begun: 4 processes died while they loaded the model" in stderr) is (code == 2)
        assert ("smaller --workers" in stderr) is (code == 2)


def test_a_process_that_dies_before_it_hears_of_its_file_costs_that_file_alone():
    worker = Worker.__new__(Worker)
    worker.connection, other = enhance_jobs.get_context("spawn").Pipe()
    other.close()
    worker._tell(None)  # no error
    with pytest.raises(EOFError):
        worker.connection.recv()


@pytest.mark.parametrize("workers", [1, 9])
def test_an_idle_look_waits_once_for_all_workers(monkeypatch, workers):
    waits = []

    def wait(connections, seconds):
        waits.append(len(connections))
        enhance_jobs.ENDING.wanted = len(waits) >= 3
        return []

    def start(pool):
        pool._workers += [SimpleNamespace(connection=object()) for _ in range(workers)]

    monkeypatch.setattr(enhance_jobs.connection, "wait", wait)
    monkeypatch.setattr(enhance_jobs._Pool, "_start", start)
    monkeypatch.setattr(enhance_jobs, "ENDING", Ending())
    task = EnhanceTask(Path("x.wav"), (Path("y.wav"),), "same", ("enhanced",), Path("x.wav"))
    with pytest.raises(KeyboardInterrupt):
        enhance_jobs._Pool([(task, [None])], Options(jobs=workers), None).run()
    assert waits == [workers] * 3
