"""A small network that gives one result for each seed, window and channel, mono or stereo."""

from __future__ import annotations

import threading

import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.recipe import Recipe
from exdiff.inference.enhancer import Enhancer

SHORT = {"segment_seconds": 1.0, "overlap_seconds": 0.4, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="session")
def network():
    """`network(channels=1)` -> the debug recipe's model with weights that are never all zero."""

    def make(channels=1):
        torch.manual_seed(channels)
        model = build_model(Recipe.from_dict(Recipe.load("debug").to_dict() | {"channels": channels})).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="session")
def enhancer(network):
    """`enhancer(channels=1, **options)` -> an Enhancer with a stochastic sampler and short windows."""

    def make(channels=1, **options):
        return Enhancer(network(channels), "predictor_corrector", **{"steps": 2, **SHORT, **options})

    return make


@pytest.fixture
def in_threads():
    """`in_threads(work, count)` -> results or errors of work(0), work(1), ...; one that hangs fails."""

    def run(work, count):
        found = {}

        def one(number):
            try:
                found[number] = work(number)
            except Exception as error:
                found[number] = error

        threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "it waits for ever"
        return [found[number] for number in range(count)]

    return run
