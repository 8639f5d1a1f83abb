"""Windows: every sample is covered exactly once in weight, however the signal arrives."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exdiff.core.errors import ConfigError
from exdiff.inference.windows import Grid, cut, overlap_add


@st.composite
def grids(draw):
    hop = draw(st.integers(1, 12))
    overlap = draw(st.integers(0, 12))
    return Grid(hop + overlap, hop, draw(st.integers(0, min(hop, overlap))))


def chunked(signal, sizes):
    """The signal in chunks of the given sizes, over and over."""
    start = 0
    for size in itertools.cycle([*sizes, 1]):
        if start >= signal.shape[1]:
            return
        yield signal[:, start : start + size]
        start += size


@settings(deadline=None, max_examples=200)
@given(grid=grids(), total=st.integers(0, 90), sizes=st.lists(st.integers(0, 40), max_size=5))
def test_cut_and_overlap_add_give_back_the_signal(grid, total, sizes):
    signal = torch.from_numpy(np.random.default_rng(total).standard_normal((2, total)))
    windows = list(cut(chunked(signal, sizes), grid))
    assert len(windows) == grid.count(total)
    for index, window in enumerate(windows):
        start, stop = grid.span(index, total)
        np.testing.assert_array_equal(window, signal[:, start:stop])
    parts = list(overlap_add(iter(windows), grid))
    joined = torch.cat(parts, dim=1) if parts else torch.zeros(2, 0)
    assert joined.shape == signal.shape
    np.testing.assert_allclose(joined, signal, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(grid=grids(), total=st.integers(1, 90))
def test_weights_sum_to_one_and_each_window_keeps_its_middle(grid, total):
    """Window i alone set to one: its weights; they sum to one everywhere."""
    count = grid.count(total)
    weights = []
    for chosen in range(count):
        spans = [grid.span(index, total) for index in range(count)]
        windows = [torch.full((1, b - a), float(i == chosen)) for i, (a, b) in enumerate(spans)]
        weights.append(torch.cat(list(overlap_add(iter(windows), grid)), dim=1)[0].numpy())
    np.testing.assert_allclose(sum(weights), 1.0, atol=1e-6)
    assert min(weight.min() for weight in weights) >= 0
    assert sum((weight > 0).astype(int) for weight in weights).max() <= 2


def test_windows_come_out_before_the_stream_ends():
    grid = Grid(10, 8, 2)
    consumed = 0

    def endless():
        nonlocal consumed
        while True:
            consumed += 1
            yield torch.zeros(1, 1)

    parts = overlap_add(cut(endless(), grid), grid)
    produced = sum(next(parts).shape[1] for _ in range(20))
    assert consumed - produced <= 2 * grid.length


@pytest.mark.parametrize("values", [(4, 5, 0), (0, 0, 0), (10, 9, 2), (10, 2, 3)])
def test_grids_that_cannot_be(values):
    with pytest.raises(ConfigError, match="do not fit"):
        Grid(*values)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_whole_seconds_are_whole_samples_at_every_rate(rate):
    grid = Grid.of_seconds(10.0, 2.0, 0.1, rate)
    assert (grid.length, grid.hop) == (10 * rate, 8 * rate)
