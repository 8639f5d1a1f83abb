"""What the machine is good at: choices, overrides and the helpers around them."""

from __future__ import annotations

import pytest
import torch

from exdiff.core import machine, measure
from exdiff.core.errors import ConfigError


@pytest.mark.parametrize(("choice", "dtype"), machine.PRECISIONS.items())
def test_a_choice_is_taken_as_it_is(monkeypatch, choice, dtype):
    monkeypatch.setenv("EXDIFF_PRECISION", "fp32" if choice == "bf16" else "bf16")
    assert machine.precision(choice) is dtype


def test_the_environment_overrides_only_auto(monkeypatch):
    monkeypatch.setattr(machine, "_bf16_is_faster", lambda device: True)
    monkeypatch.setenv("EXDIFF_PRECISION", "fp32")
    assert machine.precision() is torch.float32
    monkeypatch.delenv("EXDIFF_PRECISION")
    assert machine.precision() is torch.bfloat16
    monkeypatch.setattr(machine, "_bf16_is_faster", lambda device: False)
    assert machine.precision() is torch.float32


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_an_unknown_precision_is_an_error(monkeypatch, where):
    monkeypatch.setenv("EXDIFF_PRECISION", "fp8" if where == "environment" else "auto")
    with pytest.raises(ConfigError, match="unknown precision 'fp8'; allowed: auto, fp32, bf16"):
        machine.precision("fp8" if where == "argument" else "auto")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A machine that was never measured: no file, nothing remembered in this process."""
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path))
    monkeypatch.delenv("EXDIFF_PRECISION", raising=False)
    caches = (machine._bf16_is_faster, machine._channels_last_is_faster)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def ratios(monkeypatch, *values: float) -> list[float]:
    """Let both ways be computed once and answer these ratios of their times; the list of what is left."""
    left = list(values)

    def time_ratio(candidate, reference):
        candidate(), reference()
        return left.pop(0)

    monkeypatch.setattr(machine, "time_ratio", time_ratio)
    monkeypatch.setattr(measure, "time_ratio", time_ratio)
    return left


@pytest.mark.parametrize(("large", "chosen"), [(0.5, torch.bfloat16), (0.8, torch.float32)])
def test_bf16_must_be_clearly_faster(monkeypatch, fresh, large, chosen):
    left = ratios(monkeypatch, 2.0, large)
    assert machine.precision() is chosen
    assert not left
    assert measure.measured()["bf16"] == (chosen is torch.bfloat16, large)


def test_where_bf16_is_emulated_the_large_product_is_not_tried(monkeypatch, fresh):
    ratios(monkeypatch, 100.0)
    assert machine.precision() is torch.float32


@pytest.mark.parametrize(("ratio", "last"), [(0.5, True), (0.97, False), (1.0, False), (2.0, False)])
@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_the_clearly_faster_memory_format_wins(monkeypatch, fresh, ratio, last, name):
    ratios(monkeypatch, ratio)
    x = torch.randn(1, 2, 3, 4).to(machine.PRECISIONS[name])
    y = machine.fast_layout(x)
    assert y.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert torch.equal(x, y)


def test_every_precision_has_its_own_layout(monkeypatch, fresh):
    ratios(monkeypatch, 0.5, 2.0)
    x = torch.zeros(1, 2, 3, 4)
    assert machine.fast_layout(x).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert machine.fast_layout(x).is_contiguous()


def test_other_devices_are_not_measured(monkeypatch, fresh):
    ratios(monkeypatch)
    assert machine._bf16_is_faster("mps") is False
    assert machine._channels_last_is_faster("fp32", "cuda") is True
    assert machine._channels_last_is_faster("fp32", "mps") is False


def test_memory_is_kept_where_the_c_library_can(monkeypatch):
    asked = []

    class Library:
        @staticmethod
        def mallopt(option, value):
            asked.append((option, value))
            return 1

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Library)
    assert machine.keep_memory()
    assert asked == [(-3, 2**30), (-1, 2**31 - 1)]
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: object())
    assert not machine.keep_memory()


@pytest.mark.parametrize("last", [True, False])
def test_weights_follow_the_layout_and_keep_their_values(monkeypatch, last):
    monkeypatch.setattr(machine, "_channels_last_is_faster", lambda name, device: last)
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.Linear(2, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert machine.weights_are_fast(module, torch.float32) is not last
    machine.fast_weights(module, torch.float32)
    assert machine.weights_are_fast(module, torch.float32)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last) is last
    assert module[0].weight.is_leaf
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(("name", "number"), [("cuda", None), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_card_of_this_machine_is_taken(monkeypatch, name, number):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert machine.choose_device(name) == torch.device("cuda", number)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:7"])
def test_a_card_that_is_not_there_is_an_error(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=f"device '{name}' is not on this machine, which has 2 of them"):
        machine.choose_device(name)
