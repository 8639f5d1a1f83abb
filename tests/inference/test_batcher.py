"""Which items share a batch, whoever submits them, and that nobody waits for ever."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError

import pytest
import torch

from exdiff.inference import batcher as module
from exdiff.inference.batcher import Batcher, default_batch

SECONDS = 20.0  # more than any of this takes


class Recorder:
    """Gives items back, and remembers the batches."""

    def __init__(self, seconds=0.0):
        self.batches, self.seconds = [], seconds

    def __call__(self, items):
        self.batches.append(list(items))
        time.sleep(self.seconds)
        return items


@pytest.fixture
def patient(monkeypatch):
    """A batch that is not full waits until all calls wait."""
    monkeypatch.setattr(module, "_HURRY_SECONDS", SECONDS)
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", SECONDS)


def test_items_of_all_calls_fill_one_batch(patient, in_threads):
    compute, start = Recorder(), threading.Barrier(4)
    batcher = Batcher(compute, room=40)

    def work(number):
        with batcher.call():
            start.wait()
            return batcher.result(batcher.submit(number, "kind", 10))

    assert in_threads(work, 4) == [0, 1, 2, 3]
    assert [sorted(batch) for batch in compute.batches] == [[0, 1, 2, 3]]


def test_a_call_alone_is_computed_at_once_and_in_its_order(patient):
    compute = Recorder()
    batcher = Batcher(compute, room=30)
    with batcher.call():
        futures = [batcher.submit(number, "kind", 10) for number in range(8)]
        assert [batcher.result(future) for future in futures] == list(range(8))
    assert compute.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_similar_sizes_share_a_batch_and_kinds_do_not(patient):
    compute = Recorder()
    batcher = Batcher(compute, room=400)
    with batcher.call():
        items = [("a", 100), ("a", 80), ("a", 60), ("b", 100), ("a", 76), ("b", 90), ("a", 30)]
        futures = [batcher.submit((kind, size), kind, size) for kind, size in items]
        assert [batcher.result(future) for future in futures] == items
    assert [("a", 100), ("a", 80), ("a", 76)] in compute.batches
    assert [("b", 100), ("b", 90)] in compute.batches
    for batch in compute.batches:
        sizes = [size for _, size in batch]
        assert min(sizes) >= 0.75 * max(sizes)
        assert len(sizes) * max(sizes) <= 400


def test_an_item_that_is_too_large_makes_a_batch_of_its_own():
    compute = Recorder()
    batcher = Batcher(compute, room=5)
    with batcher.call():
        assert batcher.result(batcher.submit("large", "kind", 10)) == "large"


def test_a_call_that_is_busy_does_not_keep_the_others_waiting(in_threads):
    batcher = Batcher(Recorder(), room=100)
    with batcher.call():  # it never submits anything

        def work(number):
            with batcher.call():
                return batcher.result(batcher.submit(number, "kind", 1))

        assert in_threads(work, 1) == [0]


def test_a_call_that_goes_away_lets_the_others_go_on(patient, in_threads):
    batcher, waits = Batcher(Recorder(), room=100), threading.Event()

    def work(number):
        with batcher.call():
            if number == 0:
                waits.wait()
                time.sleep(0.05)
                raise_later.append(True)
                return None
            future = batcher.submit(number, "kind", 1)
            waits.set()
            return batcher.result(future)

    raise_later = []
    assert in_threads(work, 2) == [None, 1]


def test_a_rare_kind_does_not_starve():
    compute = Recorder(seconds=0.001)
    batcher, end = Batcher(compute, room=40), threading.Event()

    def busy(number):
        with batcher.call():
            while not end.is_set():
                batcher.result(batcher.submit("common", "common", 10))

    threads = [threading.Thread(target=busy, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    try:
        with batcher.call():
            at = len(compute.batches)
            assert batcher.submit("rare", "rare", 1).result(SECONDS) == "rare"
    finally:
        end.set()
        for thread in threads:
            thread.join(SECONDS)
    assert [batch[0] for batch in compute.batches].index("rare") - at < 40


def test_an_error_reaches_the_calls_whose_items_were_in_the_batch(patient):
    def compute(items):
        if "bad" in items:
            raise ValueError("no")
        return items

    batcher = Batcher(compute, room=20)
    with batcher.call():
        futures = [batcher.submit(item, "kind", 10) for item in ("good", "bad", "fine", "well")]
        for future in futures[:2]:
            with pytest.raises(ValueError, match="no"):
                batcher.result(future)
        assert [batcher.result(future) for future in futures[2:]] == ["fine", "well"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too little"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    ],
)
def test_too_little_memory_halves_the_batches_for_good(patient, error):
    sizes = []

    def compute(items):
        sizes.append(len(items))
        if len(items) > 3:
            raise error
        return items

    batcher = Batcher(compute, room=8)
    with batcher.call():
        futures = [batcher.submit(number, "kind", 1) for number in range(16)]
        assert [batcher.result(future) for future in futures] == list(range(16))
    assert sizes == [8, 4, 2, 2, 4, 2, 2, *[2] * 4]


def test_an_item_that_is_too_large_for_the_memory_fails_alone():
    def compute(items):
        if "large" in items:
            raise torch.OutOfMemoryError("too little")
        return items

    batcher = Batcher(compute, room=4)
    with batcher.call():
        small, large = (batcher.submit(item, "kind", 1) for item in ("small", "large"))
        assert batcher.result(small) == "small"
        with pytest.raises(torch.OutOfMemoryError):
            batcher.result(large)


def test_what_is_cancelled_is_not_computed():
    begun, go = threading.Event(), threading.Event()
    seen = []

    def compute(items):
        seen.extend(items)
        begun.set()
        go.wait()
        return items

    batcher = Batcher(compute, room=1)
    with batcher.call():
        futures = [batcher.submit(number, "kind", 1) for number in range(4)]
        begun.wait()
        batcher.cancel()
        go.set()
        assert batcher.result(futures[0]) == 0
        for future in futures[1:]:
            with pytest.raises(CancelledError):
                batcher.result(future)
        assert batcher.result(batcher.submit(9, "kind", 1)) == 9  # it can still be used
    assert seen == [0, 9]
    assert not batcher.crowded


def test_it_is_crowded_from_two_batches_on():
    go = threading.Event()
    batcher = Batcher(lambda items: go.wait() and items, room=10)
    crowded = []
    with batcher.call():
        futures = []
        for number in range(5):
            futures.append(batcher.submit(number, "kind", 5))
            crowded.append(batcher.crowded)
        go.set()
        assert [batcher.result(future) for future in futures] == list(range(5))
    assert crowded == [False, False, False, True, True]


def test_the_thread_ends_with_the_batcher():
    before = threading.active_count()
    batcher = Batcher(Recorder(), room=10)
    with batcher.call():
        batcher.result(batcher.submit(1, "kind", 1))
    gone = weakref.ref(batcher)
    del batcher
    gc.collect()
    assert gone() is None
    deadline = time.monotonic() + SECONDS
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_default_fits_the_device(monkeypatch):
    memory = {"total_memory": 0}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: type("Properties", (), memory))
    assert (default_batch(torch.device("cpu")), default_batch(torch.device("mps"))) == (1, 8)
    for size, expected in ((1, 1), (8, 4), (24, 12), (80, 32)):
        memory["total_memory"] = size << 30
        assert default_batch(torch.device("cuda")) == expected
