"""The sequence models: a contract over all of them, and each against its plain definition."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.backbones.compact import CompactBackbone
from exdiff.model.nn.cost import Counter
from exdiff.model.nn.layers import DualPath
from exdiff.model.nn.sequences import LSTM, SEQUENCES, Attention, Scan

KINDS = pytest.mark.parametrize("kind", SEQUENCES)


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def loud(module: Any, std: float = 0.5) -> Any:
    """With random weights everywhere, those that begin at zero too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std, generator=torch.Generator().manual_seed(1))
    return module


@KINDS
@pytest.mark.parametrize("length", [1, 7, 8, 16, 150])
def test_rows_keep_their_length_and_do_not_see_each_other(kind, length):
    model, rows = loud(SEQUENCES[kind](6, 8)), noise(5, length, 6)
    out = model(rows)
    assert out.shape == (5, length, model.width)
    order = torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(model(rows[order]), out[order])


@KINDS
def test_every_position_sees_the_whole_row(kind):
    model, rows = loud(SEQUENCES[kind](4, 4)), noise(1, 12, 4)
    for position in (0, 5, 11):
        other = rows.clone()
        other[:, position] += 3
        assert (model(other) != model(rows)).any(2).all()


@KINDS
def test_a_row_reversed_is_not_a_result_reversed(kind):
    model, rows = loud(SEQUENCES[kind](4, 4)), noise(1, 12, 4)
    assert not torch.allclose(
        model(rows.flip(1)).flip(1), model(rows), atol=1e-3
    )  # order matters: it is no bag of frames


@KINDS
def test_every_weight_of_a_dual_path_learns_and_loads(kind):
    block, x = loud(DualPath(4, 8, span=8, sequence=kind)), noise(2, 4, 6, 19)
    block(x).square().mean().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    other = DualPath(4, 8, span=8, sequence=kind)
    other.load_state_dict(block.state_dict())
    assert torch.equal(other(x), block(x))


@KINDS
def test_a_fresh_dual_path_is_the_identity(kind):
    x = noise(2, 4, 6, 9)
    assert torch.equal(DualPath(4, 8, sequence=kind)(x), x)


@KINDS
def test_the_receptive_field_of_a_frame_ends_at_the_span(kind):
    block, x = loud(DualPath(4, 4, span=8, sequence=kind), 1.0), noise(1, 4, 6, 60)
    other = x.clone()
    other[..., 30:] = x[..., :30]
    before, after = block(x), block(other)
    torch.testing.assert_close(before[..., :24], after[..., :24])
    assert not torch.allclose(before[..., 24:30], after[..., 24:30], atol=1e-4)
    torch.testing.assert_close(block(x[..., 12:])[..., 8:], before[..., 20:])  # a later start on the grid


@KINDS
def test_bfloat16_is_close_to_float32(kind):
    block, x = loud(DualPath(16, 16, sequence=kind), 0.2), noise(2, 16, 8, 40)
    weights = list(block.parameters())
    exact = block(x)
    expected = torch.autograd.grad(exact.square().mean(), weights)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = block(x)
    gradients = torch.autograd.grad(rounded.float().square().mean(), weights)
    assert (rounded - exact).norm() < 0.02 * exact.norm()
    for gradient, true in zip(gradients, expected, strict=True):
        assert functional.cosine_similarity(gradient.flatten(), true.flatten(), dim=0) > 0.98


@KINDS
def test_no_value_is_read_on_the_way(kind):
    block = DualPath(4, 8, sequence=kind).to("meta")
    block(torch.empty(2, 4, 6, 9, device="meta")).sum().backward()  # a device without values
    assert all(parameter.grad is not None for parameter in block.parameters())


@pytest.mark.parametrize(
    ("kind", "products"),
    [("lstm", 2 * 4 * (6 * 8 + 8 * 8)), ("scan", 6 * 6 * 8), ("attention", 4 * 6 * 8 + 2 * 10 * 8)],
)
def test_the_cost_is_counted(kind, products):
    model = SEQUENCES[kind](6, 8)
    with Counter(model) as counter:
        model(noise(3, 10, 6))
    assert counter.macs == 3 * 10 * products


def test_the_lstm_is_torchs_and_keeps_its_names():
    block, plain = DualPath(6, 5), nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    plain.load_state_dict({name[5:]: w for name, w in block.state_dict().items() if name.startswith("time.")})
    rows = noise(3, 9, 6)
    assert torch.equal(block.time(rows), plain(rows)[0])
    assert isinstance(block.frequency, LSTM)


@pytest.mark.parametrize("length", [1, 5, 8, 64, 77])
def test_the_scan_is_the_plain_loop(length):
    scan, x = loud(Scan(4, 3).double()), noise(2, length, 4, dtype=torch.float64).requires_grad_()

    def loop(x: Tensor) -> Tensor:
        retention, candidate, gate = scan.project(x).chunk(3, -1)
        keep, states = retention.sigmoid(), []
        for direction in (slice(3), slice(3, None)):
            order = range(length) if direction.stop else range(length - 1, -1, -1)
            h, found = torch.zeros(2, 3, dtype=torch.float64), {}
            for t in order:
                a = keep[:, t, direction]
                h = found[t] = a * h + (1 - a) * candidate[:, t, direction]
            states.append(torch.stack([found[t] for t in range(length)], 1))
        return torch.cat(states, -1) * functional.silu(gate)

    inputs, weight = [x, *scan.parameters()], noise(2, length, 6, dtype=torch.float64)
    torch.testing.assert_close(scan(x), loop(x))
    gradients, expected = (torch.autograd.grad((f(x) * weight).sum(), inputs) for f in (scan, loop))
    torch.testing.assert_close(gradients, expected)


def test_a_scan_stays_finite_where_nothing_is_forgotten():
    scan = Scan(4, 3)
    for bias in (-200.0, 200.0):
        nn.init.constant_(scan.project.bias, bias)
        rows = noise(2, 64, 4).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = scan(rows)
        out.float().sum().backward()
        assert out.isfinite().all() and rows.grad is not None and rows.grad.isfinite().all()


def test_attention_is_torchs_with_a_bias_for_each_distance():
    attention, rows = loud(Attention(8, 8)), noise(2, 70, 8)
    query, key, value, gate = attention.project(rows).unflatten(-1, (4, 4, 2)).permute(2, 0, 3, 1, 4)
    query, key = (functional.layer_norm(x, (2,)) for x in (query, key))
    bias = torch.empty(4, 70, 70)
    for i in range(70):
        for j in range(70):
            bias[:, i, j] = attention.distance[:, min(max(j - i, -64), 64) + 64]
    expected = functional.scaled_dot_product_attention(query, key, value, bias, scale=math.sqrt(1 / 2))
    expected = (expected * functional.silu(gate)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(rows), expected)


@KINDS
def test_a_recipe_chooses_the_sequence_model(kind):
    model: Any = build_model(Recipe.load("debug", [f"extractor.sequence={kind}", f"backbone.sequence={kind}"]))
    for body in (model.extractor.body, model.backbone.body):
        assert isinstance(body.middle[0].time, SEQUENCES[kind])


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ConfigError, match="unknown sequence model 'scam'; did you mean 'scan'"):
        build_model(Recipe.load("debug", ["extractor.sequence=scam"]))
    with pytest.raises(ValueError, match="4 heads, which must divide hidden, got 6"):
        CompactBackbone(channels=(8, 12), hidden=6, sequence="attention")
