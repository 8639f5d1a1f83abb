"""Batches are made one ahead, in order, and on CUDA with the events that make this correct."""

from __future__ import annotations

import threading

import pytest
import torch

from exdiff.training import ahead as module
from exdiff.training.ahead import Ahead

CPU = torch.device("cpu")


def nothing(item) -> list:
    return []


def test_exactly_one_is_made_ahead():
    made, waiting = [], threading.Event()

    def make(n: int) -> int:
        made.append(n)
        waiting.set()
        return n

    ahead = Ahead(make, 3, 6, CPU, nothing)
    assert waiting.wait(10), "the first one before anyone asks"
    for n in (3, 4, 5):
        waiting.clear()
        assert ahead.take() == n
        assert waiting.wait(10)
        assert made[-1] == n + 1, "the next one, and none beyond it"
    assert ahead.take() == 6
    with pytest.raises(StopIteration):
        ahead.take()
    ahead.close()


def test_an_error_appears_where_its_item_is_taken():
    def make(n: int) -> int:
        if n == 1:
            raise ValueError("one")
        return n

    ahead = Ahead(make, 0, 3, CPU, nothing)
    assert ahead.take() == 0
    with pytest.raises(ValueError, match="one"):
        ahead.take()
    ahead.close()


def test_closing_leaves_no_thread():
    before = threading.active_count()
    ahead = Ahead(lambda n: n, 0, 100, CPU, nothing)
    ahead.take()
    ahead.close()
    assert threading.active_count() == before


def test_on_cuda_whoever_takes_a_batch_waits_for_it_and_its_memory_for_the_reader(monkeypatch):
    """There is no CUDA here: a stream that takes notes says what would happen, in order."""
    notes = []

    class Stream:
        def __init__(self, name, device=None) -> None:
            self.name, self.device = name, device

        def record_event(self):
            notes.append(f"{self.name} records")
            return "event"

        def wait_stream(self, other) -> None:
            notes.append(f"{self.name} waits for {other.name}")

        def wait_event(self, event) -> None:
            notes.append(f"{self.name} waits for {event}")

        def __enter__(self):
            notes.append(f"{self.name} begins")

        def __exit__(self, *error) -> None:
            notes.append(f"{self.name} ends")

    class Batch:
        def record_stream(self, stream) -> None:
            notes.append(f"memory is {stream.name}'s too")

    own, model = Stream("own"), Stream("model")
    monkeypatch.setattr(module.torch.cuda, "Stream", lambda device: own)
    monkeypatch.setattr(module.torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(module.torch.cuda, "current_stream", lambda device: model)
    ahead = Ahead(lambda n: notes.append("made") or Batch(), 0, 0, torch.device("cuda"), lambda batch: [batch])
    ahead.take()
    ahead.close()
    assert notes.pop(0) == "own waits for model", "for what the batches are made of"
    assert notes == ["own begins", "made", "own records", "own ends", "model waits for event", "memory is model's too"]
