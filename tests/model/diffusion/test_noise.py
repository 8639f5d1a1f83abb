from __future__ import annotations

import pytest
import torch

from exdiff.core import counters
from exdiff.core.errors import ConfigError
from exdiff.model.diffusion import Keys, normal_like, uniform


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_unit_total_variance(dtype):
    z = normal_like(torch.empty(4, 5000, dtype=dtype), torch.Generator().manual_seed(0))
    assert z.dtype == dtype
    assert z.abs().square().mean().item() == pytest.approx(1, abs=0.03)
    assert z.mean().abs().item() < 0.03


def test_complex_noise_is_circular():
    z = normal_like(torch.empty(1, 20000, dtype=torch.complex64), torch.Generator().manual_seed(0))
    assert z.real.square().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (z**2).mean().abs().item() < 0.03


def test_same_seed_same_noise_and_the_global_generator_is_the_default():
    x = torch.empty(2, 3)
    draw = [normal_like(x, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draw)
    torch.manual_seed(1)
    first = normal_like(x)
    torch.manual_seed(1)
    assert torch.equal(first, normal_like(x))


def test_an_item_gets_the_same_noise_in_any_batch():
    seeds = [3, 1, 4]
    batch = normal_like(torch.empty(3, 2, 5), [torch.Generator().manual_seed(s) for s in seeds])
    for item, seed in zip(batch, seeds, strict=True):
        assert torch.equal(item, normal_like(torch.empty(1, 2, 5), [torch.Generator().manual_seed(seed)])[0])


def test_wrong_number_of_generators():
    with pytest.raises(ConfigError, match="2 generators for a batch of 3"):
        normal_like(torch.empty(3, 1), [torch.Generator(), torch.Generator()])


class Elsewhere(torch.Generator):
    """A generator that claims another device: there is no second one to test on."""

    @property
    def device(self):
        return torch.device("meta")


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_numbers_are_drawn_on_the_generators_device_and_brought_to_the_wanted_one(monkeypatch, draw, several):
    devices = []

    def fake(*shape, device="cpu", generator=None, dtype=None):
        devices.append(torch.device(device))
        shape = shape[0] if isinstance(shape[0], torch.Size) else shape
        return torch.zeros(shape, dtype=dtype)  # of the CPU: a tensor on meta holds nothing to bring

    monkeypatch.setattr(torch, "rand" if draw == "uniform" else "randn", fake)
    given = [Elsewhere(), Elsewhere(), torch.Generator()] if several else Elsewhere()
    if draw == "uniform":
        assert uniform(4, 3, given).device.type == "cpu"
        assert uniform(4, 3, given, device="meta").device.type == "meta"
    else:
        assert normal_like(torch.zeros(3, 2), given).device.type == "cpu"
        assert normal_like(torch.zeros(3, 2, device="meta"), given).device.type == "meta"
    once = ["meta", "meta", "cpu"] if several else ["meta"]
    assert [device.type for device in devices] == 2 * once


def test_uniform_numbers_of_an_item_do_not_depend_on_its_batch():
    whole = uniform(5, 3, [torch.Generator().manual_seed(s) for s in (3, 1, 4)])
    assert whole.shape == (5, 3)
    assert whole.min() >= 0
    assert whole.max() < 1
    assert torch.equal(whole[:, 1:2], uniform(5, 1, [torch.Generator().manual_seed(1)]))
    with pytest.raises(ConfigError, match="2 generators for a batch of 3"):
        uniform(1, 3, [torch.Generator(), torch.Generator()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_keys_give_unit_variance_too(dtype):
    z = normal_like(torch.empty(4, 5000, 3, dtype=dtype), Keys(torch.arange(4)))
    assert z.dtype == dtype
    assert z.shape == (4, 5000, 3)
    assert z.abs().square().mean().item() == pytest.approx(1, abs=0.03)
    assert z.mean().abs().item() < 0.03
    if dtype.is_complex:
        assert (z**2).mean().abs().item() < 0.03, "circular"


def test_draws_by_keys_depend_on_the_item_and_on_the_number_of_the_draw_alone():
    whole, part = Keys(torch.tensor([3, 1, 4])), Keys(torch.tensor([1]))
    for _ in range(2):
        assert torch.equal(normal_like(torch.empty(3, 2, 5), whole)[1:2], normal_like(torch.empty(1, 2, 5), part))
        times, alone = uniform(2, 3, whole), uniform(2, 1, part)
        assert times.shape == (2, 3)
        assert torch.equal(times[:, 1:2], alone)
    again = Keys(torch.tensor([1]))
    numbers = [normal_like(torch.empty(1, 4), again) for _ in range(3)]
    assert not torch.equal(numbers[0], numbers[1])
    assert not torch.equal(numbers[1], numbers[2])


def test_draws_and_items_are_not_correlated():
    keys = Keys(counters.keys(0, 10, torch.arange(3)))
    rows = torch.cat([normal_like(torch.empty(3, 40000), keys) for _ in range(3)])
    off = torch.corrcoef(rows) - torch.eye(9)
    assert off.abs().max() < 0.02, "four deviations"
    assert torch.corrcoef(torch.stack([rows[0, :-1], rows[3, 1:]]))[0, 1].abs() < 0.02


def test_keys_draw_on_their_device():
    keys = Keys(torch.zeros(3, dtype=torch.int64, device="meta"))
    assert normal_like(torch.empty(3, 2, dtype=torch.complex64, device="meta"), keys).device.type == "meta"
    assert uniform(2, 3, keys, device="meta").device.type == "meta"
    with pytest.raises(ConfigError, match="3 generators for a batch of 2"):
        uniform(1, 2, keys)
