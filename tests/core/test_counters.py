"""Random numbers that are hashes: known values, moments, independence, and the same in every batch."""

from __future__ import annotations

import pytest
import torch

from exdiff.core import counters


def test_the_hash_is_splitmix64():
    # The first outputs of the reference implementation, started at 1234567.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    places = torch.arange(1, 5) * counters._signed(counters._STEP)
    assert [int(word) % 2**64 for word in counters._hash(1234567 + places)] == known


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_an_example_gets_the_same_numbers_in_every_batch_and_a_shorter_draw_is_no_other_draw(count):
    indices = torch.tensor([5, 2**40, 0, 17])
    key = counters.keys(3, 1, indices)
    for draw in (counters.uniform, counters.normal):
        alone = torch.cat([draw(counters.keys(3, 1, indices[i : i + 1]), count) for i in range(4)])
        assert torch.equal(draw(key, count), alone)


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform(seed, dtype):
    x = counters.uniform(counters.keys(seed, 0, torch.arange(2000)), 500, dtype).flatten()
    assert x.dtype == dtype and x.min() >= 0 and x.max() < 1
    counts = torch.histc(x.float(), 256, 0, 1)
    chi_square = ((counts - len(x) / 256) ** 2 / (len(x) / 256)).sum()
    assert 150 < chi_square < 380  # 255 +- 5.5 standard deviations


def test_normal_numbers_are_normal():
    x = counters.normal(counters.keys(0, 0, torch.arange(1000)), 1000).double().flatten()
    assert abs(x.mean()) < 0.005 and abs(x.square().mean() - 1) < 0.01 and abs((x**4).mean() - 3) < 0.05
    ordered, places = x.sort().values, (torch.arange(len(x)) + 0.5) / len(x)
    wanted = torch.special.ndtri(places.double())
    assert (ordered - wanted)[20_000:-20_000].abs().max() < 0.01


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_neighbouring_seeds_streams_and_indices_are_unrelated(other):
    def draw(seed, stream, index):
        return counters.normal(counters.keys(seed, stream, torch.arange(index, index + 1)), 200_000)[0]

    assert abs(torch.corrcoef(torch.stack([draw(0, 0, 0), draw(*other)]))[0, 1]) < 0.012
