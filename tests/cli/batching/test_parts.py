"""What is decided without any worker: how cores and GPUs are shared, how long it takes, what a claim means."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

from exdiff.cli.batching import plan as plan_module
from exdiff.cli.batching.attempts import BatchLedger
from exdiff.cli.batching.on_ray import Actors
from exdiff.cli.batching.plan import Sizes, StoredTask, missing
from exdiff.cli.batching.storage import Folder
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.report import FAILED, SKIPPED, Outcome


def task(name, size=0):
    return StoredTask(Path(name), (Path(name),), "same", ("enhanced",), Path(name), size=size)


@pytest.mark.parametrize(
    ("machines", "workers", "options", "expected"),
    [
        ([{"CPU": 16.0}], None, {}, (16, 1, 0)),
        ([{"CPU": 16.0}, {"CPU": 4.0}], 2, {}, (2, 10, 0)),
        ([{"CPU": 4.0}, {"CPU": 4.0}, {"CPU": 4.0}], 2, {}, (2, 4, 0)),  # 6 threads fit on no machine
        ([{"CPU": 4.0}], 9, {}, (9, 1, 0)),
        ([{"CPU": 16.0}], None, {"threads": 3}, (3, 1, 0)),
        ([{"CPU": 16.0, "GPU": 4.0}], None, {}, (4, 4, 1)),
        ([{"CPU": 16.0, "GPU": 4.0}], 8, {}, (8, 2, 0.5)),
        ([{"CPU": 16.0, "GPU": 4.0}], None, {"loading": {"device": "cpu"}}, (16, 1, 0)),
        ([{}, {"CPU": 2.0}], None, {}, (2, 1, 0)),
    ],
)
def test_cores_and_gpus_are_shared(machines, workers, options, expected):
    actors = Actors.__new__(Actors)
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    actors._ray = SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 99.0}}])
    actors._attempt = SimpleNamespace(options=Options(**options))  # type: ignore[assignment]
    actors._pending = deque(range(100))  # type: ignore[arg-type]
    assert actors._share(workers) == expected


def test_the_length_of_a_run_follows_from_sizes(monkeypatch):
    work = [(task("a.wav", 32_000), [None]), (task("b.wav", 64_000), [None])]
    assert Sizes(work).total is None, "no bar, no sums over a million files"
    monkeypatch.setattr(plan_module, "on_terminal", lambda: True)
    sizes = Sizes(work)
    assert sizes.total == 3.0
    sizes.settle(Path("a.wav"), 4.0)
    assert (sizes.settled, sizes.total) == (4.0, 12.0)
    sizes.settle(Path("b.wav"), 5.0)
    assert (sizes.settled, sizes.total) == (9.0, 9.0)


def test_one_stem_of_two_is_not_a_result(tmp_path):
    """And the one that exists is remembered, to notice another run that writes it."""
    (tmp_path / "x.vocals.wav").write_bytes(b"1")
    both = StoredTask(
        Path("x.wav"), (Path("x.vocals.wav"), Path("x.rest.wav")), "same", ("vocals", "accompaniment"), Path("x.wav")
    )
    work, finished = missing([both], Folder(tmp_path))
    assert (len(work), finished) == (1, [])
    assert [mark is None for mark in work[0][1]] == [False, True]


def test_what_a_lost_machine_has_claimed_is_no_success(tmp_path):
    """At first another run may be at it. After a loss it may be a worker that is gone, on a machine nobody can ask."""
    (tmp_path / "there.wav").touch()
    ledger = BatchLedger(Folder(tmp_path), Folder(tmp_path), 2, report=None, to_stdout=False, verbose=False)
    work = [(task(name), [None]) for name in ("a.wav", "b.wav", "there.wav")]
    claimed = [Outcome.of(of, SKIPPED, error="another run writes it now", again=True) for of, _ in work]
    ledger.add(Outcome.of(work[0][0], FAILED, error="the worker that enhanced it ended", again=True))
    ledger.add(claimed[1])
    ledger.add(claimed[2])
    assert not ledger.counts and ledger.take_again(work) == work
    for outcome in claimed:
        ledger.add(outcome)
    assert ledger.counts == {SKIPPED: 2, FAILED: 1}
    assert ledger.failures[0]["error"].endswith("on a machine that is lost; run again in 15 minutes")
