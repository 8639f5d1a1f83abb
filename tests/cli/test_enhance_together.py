"""Several files under way at once, as on a GPU, which is forced here by a model that computes windows together."""

import os
import signal
import threading
import time
from collections import Counter
from multiprocessing import get_context

import numpy as np
import pytest

from exdiff.audio import decode, encode
from exdiff.cli.enhancing import readers
from exdiff.cli.enhancing.claims import claimed
from exdiff.cli.enhancing.jobs import run_in_processes
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import plan_tasks
from exdiff.cli.enhancing.report import FAILED, Ledger, Outcome
from exdiff.cli.enhancing.run import Runner, marks_of
from exdiff.cli.enhancing.worker import Worker
from exdiff.core.errors import ConfigError

from .conftest import records, wait_for

posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX systems")


@pytest.fixture
def together(batch, batching_model):
    """`together(...)` enhances tmp_path/in into tmp_path/out, several files at once."""
    return lambda *arguments: batch("--model", batching_model, *arguments)


@pytest.fixture
def counted(monkeypatch):
    """The lengths in each call of the model."""
    from exdiff.inference.generation import Generation

    calls, compute = [], Generation.__call__

    def call(self, requests):
        calls.append([request.wave.shape[-1] for request in requests])
        return compute(self, requests)

    monkeypatch.setattr(Generation, "__call__", call)
    return calls


def test_the_results_are_those_of_one_file_after_the_other(tmp_path, batch, together, counted, monkeypatch):
    monkeypatch.setenv("EXDIFF_PRECISION", "fp32")
    rng = np.random.default_rng(0)
    for number in range(40):
        rate, channels = int(rng.choice([8000, 16000, 44100])), 1 + number % 2
        sound = rng.normal(0, 0.1, (channels, round(rng.uniform(0.2, 1.2) * rate))).astype(np.float32)
        encode(tmp_path / "in" / f"{number}.{'wav' if number % 3 else 'flac'}", sound, rate)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    options = ("--format", "wav", "--bit-depth", "float", "--report")
    assert batch(*options, tmp_path / "one.jsonl").exit_code == 1
    alone = len(counted)
    counted.clear()
    (tmp_path / "out").rename(tmp_path / "one")
    result = together(*options, tmp_path / "many.jsonl", "--json")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "bad.wav: not a readable" in result.stderr
    assert sorted(os.listdir(tmp_path / "one")) == sorted(os.listdir(tmp_path / "out"))
    for name in os.listdir(tmp_path / "one"):
        wanted, got = decode(tmp_path / "one" / name)[0], decode(tmp_path / "out" / name)[0]
        assert 10 * np.log10(np.square(got - wanted).sum() / np.square(wanted).sum() + 1e-30) < -100
    assert sum(map(len, counted)) == alone
    assert len(counted) < alone / 4
    one, many = ({r["input"]: r for r in records((tmp_path / f"{name}.jsonl").read_text())} for name in ("one", "many"))
    assert one.keys() == many.keys() == {r["input"] for r in records(result.stdout)}
    for source in one:
        measured = ("seconds", "rtf", "model")
        assert {k: v for k, v in one[source].items() if k not in measured} == {
            k: v for k, v in many[source].items() if k not in measured
        }


def test_existing_results_claims_and_collisions(tmp_path, together, noise):
    for name in ("a.wav", "b.wav", "c.wav", "d.wav", "d.flac"):
        noise(tmp_path / "in" / name, seconds=0.3)
    noise(tmp_path / "out" / "a.wav", seconds=0.1)
    with claimed([tmp_path / "out" / "b.wav"]):
        result = together("--format", "wav")
    assert result.exit_code == 1
    said = result.stderr
    assert (
        "a.wav exists" in said and "b.wav: another run writes it now" in said and "tell them apart with {ext}" in said
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["a.wav", "c.wav"]
    options = ("--name", "{stem}.{ext}{suffix}", "--format", "wav")
    assert together(*options).exit_code == 0
    assert sorted(os.listdir(tmp_path / "out"))[1:-1] == ["a.wav.wav", "b.wav.wav", "c.wav", "c.wav.wav", "d.flac.wav"]
    result = together(*options, "--skip-existing")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_stems_add_up(tmp_path, together, noise):
    songs = [noise(tmp_path / "in" / f"{number}.wav", channels=2, seconds=0.4 + number / 3) for number in range(3)]
    assert together("--stems").exit_code == 0
    for number, song in enumerate(songs):
        stems = [decode(tmp_path / "out" / f"{number}.{what}.wav")[0] for what in ("vocals", "accompaniment")]
        np.testing.assert_allclose(sum(stems), decode(tmp_path / "in" / f"{number}.wav")[0], atol=1e-7)
        assert stems[0].shape == song.shape


def test_one_file_and_pipes_are_read_by_the_main_thread(tmp_path, together, noise, monkeypatch):
    monkeypatch.setattr(readers, "threading", None)
    noise(tmp_path / "in" / "a.wav")
    assert together().exit_code == 0
    if hasattr(os, "mkfifo"):
        noise(tmp_path / "in" / "b.wav")
        os.mkfifo(tmp_path / "pipe.wav")
        data = (tmp_path / "in" / "a.wav").read_bytes()
        threading.Thread(target=(tmp_path / "pipe.wav").write_bytes, args=(data,), daemon=True).start()
        assert together("--overwrite", tmp_path / "pipe.wav").exit_code == 0
        assert sorted(os.listdir(tmp_path / "out")) == ["a.wav", "b.wav", "pipe.wav"]


def test_a_report_that_cannot_be_written_ends_the_run(tmp_path, together, noise, monkeypatch):
    for number in range(12):
        noise(tmp_path / "in" / f"{number}.wav", seconds=1)
    add = Ledger.add

    def full(self, outcome):
        if self.counts.total() == 2:
            raise ConfigError("the disk is full")
        add(self, outcome)

    monkeypatch.setattr(Ledger, "add", full)
    monkeypatch.setattr(readers, "MOST_READERS", 3)
    result = together()
    assert (result.exit_code, result.stderr) == (2, "exdiff: error: the disk is full\n")
    assert not list((tmp_path / "out").glob(".*"))
    assert len(os.listdir(tmp_path / "out")) < 12
    assert "reader" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(("limit", "count"), [(1 << 20, 64), (256, 32), (5, 1)])
def test_readers_open_no_more_files_than_they_may(tmp_path, together, noise, monkeypatch, limit, count):
    started = set()

    def run(self, task, marks, advance):
        started.add(threading.current_thread())
        wait_for(lambda: len(started) >= count)
        return Outcome.of(task, FAILED, error="no sound")

    monkeypatch.setattr(readers, "_open_files", lambda: limit)
    monkeypatch.setattr(Runner, "run", run)
    for number in range(70):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.wav").touch()
    together()
    assert len(started) == count


def test_processes_have_several_files_under_way_each(tmp_path, together, process, noise, batching_model):
    for number in range(6):
        noise(tmp_path / "in" / f"{number}.wav", seconds=3 + number)
    running = process("--model", batching_model, "--steps", 0, "--jobs", 2, "--json")
    most = 0
    while running.poll() is None:
        most = max(most, len(list((tmp_path / "out").glob(".*.part"))))
        time.sleep(0.005)
    stdout, stderr = running.communicate()
    assert (running.returncode, stderr, len(records(stdout))) == (0, "", 6)
    assert most > 2
    (tmp_path / "out").rename(tmp_path / "first")
    assert together().exit_code == 0
    for number in range(6):
        wanted, got = (decode(tmp_path / folder / f"{number}.wav")[0] for folder in ("first", "out"))
        np.testing.assert_allclose(got, wanted, atol=2e-4)


class Deadly(Runner):
    """It kills its process, as a lack of memory does, over one file, once all files have begun."""

    def run(self, task, marks, advance):
        name, log = task.source.name, task.outputs[0].parent.with_name("begun.txt")
        with log.open("a") as begun:
            begun.write(f"{name}\n")
        if name == "deadly.wav":
            wait_for(lambda: len(log.read_text().split()) >= 6)
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for(lambda: "deadly" in log.read_text())
        if name in ("3.wav", "4.wav") and log.read_text().count(name) == 1:
            time.sleep(60)  # it is killed with the other
        return super().run(task, marks, advance)


@posix
def test_a_process_that_dies_over_one_of_its_files_costs_that_file_alone(tmp_path, noise, batching_model, capfd):
    """The first process has 0, 1 and 2 under way, the second one the rest."""
    for name in ("0", "1", "2", "3", "4", "deadly"):
        noise(tmp_path / "in" / f"{name}.wav")
    options = Options(model=batching_model, loading={"steps": 0}, jobs=2, threads=2)
    plan = plan_tasks([str(tmp_path / "in")], str(tmp_path / "out"), options)
    ledger = Ledger(tmp_path / "r.jsonl", to_stdout=False, verbose=False)
    (tmp_path / "out").mkdir()
    run_in_processes([(task, marks_of(task)) for task in plan.tasks], options, ledger, Deadly)
    assert ledger.counts == {"done": 5, "failed": 1}
    assert "deadly.wav: the process that enhanced it ended by signal 9" in capfd.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {f"{number}.wav" for number in range(5)}
    begun = Counter((tmp_path / "begun.txt").read_text().split())
    assert begun == {f"{number}.wav": 1 + (number > 2) for number in range(5)} | {"deadly.wav": 2}


class Talkative(Runner):
    """It says more than a pipe holds."""

    def run(self, task, marks, advance):
        def often(seconds):
            for _ in range(1000):
                advance(seconds / 1000)

        return super().run(task, marks, often)


@posix
def test_a_process_that_nobody_listens_to_ends_all_the_same(tmp_path, noise, batching_model):
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.wav", seconds=300)
    options = Options(model=batching_model, loading={"steps": 0})
    plan = plan_tasks([str(tmp_path / "in")], str(tmp_path / "out"), options)
    worker = Worker(get_context("spawn"), Talkative, options, 1, True)
    kind, _, room = worker.connection.recv()
    assert kind == "ready" and room > 2
    for number, task in enumerate(plan.tasks):
        worker.give(number, task, marks_of(task))
    wait_for(lambda: len(list((tmp_path / "out").glob(".*.part"))) == 3)
    time.sleep(1)  # the pipe is full by now
    worker.process.terminate()
    while worker.process.is_alive():
        list(worker.outcomes())
        time.sleep(0.01)
    assert worker.process.exitcode == 0
    assert os.listdir(tmp_path / "out") == []


@posix
@pytest.mark.parametrize(("name", "jobs"), [("SIGINT", 1), ("SIGTERM", 1), ("SIGTERM", 2)])
def test_an_ended_run_leaves_nothing_unfinished(tmp_path, process, noise, batching_model, name, jobs):
    for number in range(3):
        noise(tmp_path / "in" / f"{number}.wav", seconds=300)
    running = process("--model", batching_model, "--jobs", jobs)
    wait_for(lambda: len(list((tmp_path / "out").glob(".*.part"))) == 3)
    running.send_signal(getattr(signal, name))
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")
    assert os.listdir(tmp_path / "out") == []


@posix
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_parts_no_finished_file_from_its_line_in_the_report(
    tmp_path, process, noise, model, batching_model, several, jobs
):
    for number in range(30):
        noise(tmp_path / "in" / f"{number}.wav", seconds=0.5)
    report = tmp_path / "r.jsonl"
    chosen = ["--model", batching_model if several else model]
    running = process("--report", report, "--jobs", jobs, "--threads", 1, *chosen)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("[!.]*"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    running.send_signal(signal.SIGHUP)
    running.communicate(timeout=60)
    done = Counter(os.path.basename(r["input"]) for r in records(report.read_text()) if r["status"] == "done")
    assert done == Counter(os.listdir(tmp_path / "out"))
