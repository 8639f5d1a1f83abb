"""Rooms: the direct sound stays in place, made ones decay and get darker."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.data.draws import Draws
from exdiff.data.mixing.rooms import Rooms

from ..conftest import RATE, write

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path):
    for name, places in (("one", [120]), ("two", [100, 300, 9000])):
        wave = np.zeros((1, 10_000), np.float32)
        wave[0, places] = np.array([-0.3, 0.1, 0.05])[: len(places)]
        write(tmp_path / f"{name}.wav", wave)
    return ClipCache([Clip(tmp_path / f"{name}.wav", "rir") for name in ("one", "two")], tmp_path / "cache", RATE)


def rooms(cache, made_share, clips=(0, 1)):
    return Rooms(cache, clips, made_share, RATE, CPU)


def test_measured_rooms_begin_with_the_direct_sound(cache):
    responses = rooms(cache, 0.0).responses(Draws(0, range(30)))
    seen = {tuple(np.flatnonzero(np.abs(response) > 1e-3)) for response in responses.numpy()}
    assert seen == {(0,), (0, 200, 8900)}
    assert responses[:, 0].tolist() == [pytest.approx(-1)] * 30


def test_both_kinds_come_up_in_the_share_asked_for(cache):
    responses = rooms(cache, 0.3).responses(Draws(0, range(400)))
    made = (responses != 0).sum(1) > 3
    assert float(made.float().mean()) == pytest.approx(0.3, abs=0.06)
    assert responses[made][:, 0].tolist() == [1.0] * int(made.sum())


def test_made_rooms_decay_and_get_darker(cache):
    responses = rooms(cache, 1.0).responses(Draws(1, range(200)))[:, : RATE // 2]
    energy = responses.square().view(200, 10, -1).sum(-1).mean(0)[1:]  # every 50 ms, after the early reflections
    assert bool((energy.diff() < 0).all())
    spectra = torch.fft.rfft(responses.view(200, 10, -1)[:, [1, 5]]).abs().square()
    high = spectra[..., spectra.shape[-1] // 2 :].sum(-1) / spectra.sum(-1)
    assert float((high[:, 1] / high[:, 0]).median()) < 0.8, "a fifth of a second later"


def test_a_response_does_not_depend_on_its_batch(cache):
    make, together = rooms(cache, 0.5), Draws(0, range(6))
    many = make.responses(together)
    for row in range(6):
        one = make.responses(together.of(np.array([row])))[0]
        size = min(len(one), many.shape[1])
        assert torch.equal(many[row, :size], one[:size])
        assert not many[row, size:].any()


def test_without_measured_rooms_only_made_ones_are_available(cache):
    draws = Draws(0, range(100))
    assert rooms(cache, 0.0).available(draws).all()
    assert not rooms(cache, 0.0, clips=()).available(draws).any()
    assert rooms(cache, 0.4, clips=()).available(draws).mean() == pytest.approx(0.4, abs=0.12)
