"""Winograd's convolutions against the definition, in every shape, and where they are used."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from exdiff.core import measure
from exdiff.model.backbones import winograd
from exdiff.model.backbones.ncsnpp_blocks import Convolution, convolution

SHAPES = [(1, 3, 5, 1, 1), (2, 8, 4, 7, 9), (1, 16, 16, 33, 40), (3, 4, 6, 8, 4)]  # B, C, D, F, N


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(
    ("dtype", "tile", "least"), [(torch.float32, 2, 1e-6), (torch.float32, 4, 5e-6), (torch.bfloat16, 2, 1e-2)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_convolution(shape, dtype, tile, least):
    batch, inputs, outputs, height, width = shape
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(batch, inputs, height, width),
        torch.randn(outputs, inputs, 3, 3),
        torch.randn(outputs),
    )
    expected = functional.conv2d(x, weight, bias, padding=1)
    got = winograd.convolve(x.to(dtype), weight.to(dtype), bias.to(dtype), tile)
    assert (got.dtype, got.shape) == (dtype, expected.shape)
    assert distance(got.float(), expected) < least


def test_strips_join_without_seams():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 64, 12), torch.randn(2, 2, 3, 3)  # one row of tiles a strip
    assert distance(winograd.convolve(x, weight, None, 4), functional.conv2d(x, weight, padding=1)) < 5e-6


def test_edges_see_zeros_and_nothing_else():
    x = torch.zeros(1, 1, 12, 12)
    x[..., 0, 0] = 1.0
    got = winograd.convolve(x, torch.ones(1, 1, 3, 3), None, 4)
    assert torch.allclose(got, functional.conv2d(x, torch.ones(1, 1, 3, 3), padding=1), atol=1e-5)


@pytest.fixture
def faster(monkeypatch):
    monkeypatch.setattr(winograd, "_is_faster", lambda dtype: True)


@torch.no_grad()
def test_only_large_plain_layers_are_computed_so(faster):
    x = torch.zeros(1, 256, 64, 64)
    assert winograd.tile_for(convolution(256, 64, 3), x) == 4
    assert winograd.tile_for(convolution(256, 64, 3), x.bfloat16()) == 2
    with torch.autocast("cpu", torch.bfloat16):
        assert winograd.tile_for(convolution(256, 64, 3), x) == 2
    assert winograd.tile_for(convolution(256, 64, 3), x.double()) is None
    assert winograd.tile_for(convolution(256, 64, 3), x[..., :63]) is None
    assert winograd.tile_for(convolution(256, 32, 3), x) is None
    assert winograd.tile_for(convolution(128, 64, 3), x[:, :128]) is None
    assert winograd.tile_for(convolution(256, 64, 1), x) is None
    assert winograd.tile_for(Convolution(256, 64, 3, padding=1, stride=2), x) is None
    assert winograd.tile_for(Convolution(256, 64, 3, padding=1, groups=2), x) is None
    with torch.enable_grad():
        assert winograd.tile_for(convolution(256, 64, 3), x) is None


@pytest.mark.parametrize("shifts", [0, 1, 2])
@torch.no_grad()
def test_a_layer_gives_the_same_either_way(monkeypatch, shifts):
    torch.manual_seed(0)
    layer, x = convolution(256, 96, 3), torch.randn(max(1, shifts), 256, 64, 65)
    shift = torch.randn(shifts, 96) if shifts else None
    expected = torch.nn.Conv2d.forward(layer, x) + (shift[:, :, None, None] if shift is not None else 0)
    for answer in (True, False):
        monkeypatch.setattr(winograd, "_is_faster", lambda dtype, answer=answer: answer)
        assert distance(layer(x, shift), expected) < 5e-6


@torch.no_grad()
def test_the_machine_is_measured_once(monkeypatch, tmp_path):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path))
    winograd._is_faster.cache_clear()
    times = [0.8]  # of the definition's
    monkeypatch.setattr(measure, "time_ratio", lambda candidate, reference: times.pop(0))
    assert winograd._is_faster(torch.float32)
    assert "winograd_float32" in (tmp_path / "machine.json").read_text()
    winograd._is_faster.cache_clear()
    measure._answers.clear()
    assert winograd._is_faster(torch.float32), "remembered, not measured again"
    winograd._is_faster.cache_clear()
