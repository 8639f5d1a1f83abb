"""What the machine is good at: choices, overrides and the helpers around them."""

from __future__ import annotations

import pytest
import torch

from exdiff import machine
from exdiff.errors import ConfigError


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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    caches = (machine._bf16_is_faster, machine._channels_last_is_faster)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path / "exdiff" / "machine.json"
    for cache in caches:
        cache.cache_clear()


def timed(monkeypatch, *seconds: float) -> list[float]:
    """Let `best_seconds` do its work and then answer these times, one after the other; the list of what is left."""
    left = list(seconds)
    monkeypatch.setattr(machine, "best_seconds", lambda work: (work(), left.pop(0))[1])
    return left


@pytest.mark.parametrize(("large", "chosen"), [((1.0, 2.0), torch.bfloat16), ((1.9, 2.0), torch.float32)])
def test_bf16_must_be_clearly_faster(monkeypatch, fresh, large, chosen):
    monkeypatch.delenv("EXDIFF_PRECISION", raising=False)
    left = timed(monkeypatch, 2.0, 1.0, *large)
    assert machine.precision() is chosen
    assert not left


def test_where_bf16_is_emulated_the_large_product_is_not_tried(monkeypatch, fresh):
    monkeypatch.delenv("EXDIFF_PRECISION", raising=False)
    timed(monkeypatch, 100.0, 1.0)
    assert machine.precision() is torch.float32


def test_what_was_measured_is_kept_in_a_file(monkeypatch, fresh):
    monkeypatch.delenv("EXDIFF_PRECISION", raising=False)
    timed(monkeypatch, 1.0, 1.0, 1.0, 2.0)
    assert machine.precision() is torch.bfloat16
    assert fresh.is_file()
    machine._bf16_is_faster.cache_clear()
    timed(monkeypatch)
    assert machine.precision() is torch.bfloat16, "not measured again"
    machine._bf16_is_faster.cache_clear()
    fresh.write_text("damaged")
    timed(monkeypatch, 1.0, 1.0, 2.0, 1.0)
    assert machine.precision() is torch.float32, "a damaged file is measured anew"


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, fresh):
    fresh.parent.write_text("a file where the folder should be")
    timed(monkeypatch, 1.0, 2.0)
    assert machine.fast_layout(torch.zeros(1, 2, 3, 4)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("last", [True, False])
def test_the_faster_memory_format_wins(monkeypatch, fresh, last):
    timed(monkeypatch, *((1.0, 2.0) if last else (2.0, 1.0)))
    x = torch.randn(1, 2, 3, 4)
    y = machine.fast_layout(x)
    assert y.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert torch.equal(x, y)


def test_every_precision_has_its_own_layout(monkeypatch, fresh):
    timed(monkeypatch, 1.0, 2.0, 2.0, 1.0)
    x = torch.zeros(1, 2, 3, 4)
    assert machine.fast_layout(x).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert machine.fast_layout(x).is_contiguous()


def test_other_devices_are_not_measured(monkeypatch, fresh):
    timed(monkeypatch)
    assert machine._bf16_is_faster("mps") is False
    assert machine._channels_last_is_faster("fp32", "cuda") is True
    assert machine._channels_last_is_faster("fp32", "mps") is False


def test_best_seconds_leaves_out_the_warm_up(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 6.0, 10.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(clock))
    grads = []
    assert machine.best_seconds(lambda: grads.append(torch.is_grad_enabled()), repeats=3) == 3.0
    assert grads == [False] * 4


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
    machine.fast_weights(module, torch.float32)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last) is last
    assert module[0].weight.is_leaf
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
