"""The fused LSTM: what is outside its kernels against torch, with loops in their place; on a GPU the kernels too."""

from __future__ import annotations

import copy
import warnings
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from exdiff.model.nn import fused_lstm
from exdiff.model.nn.sequences import LSTM

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(
    fused_lstm.triton is None or not torch.cuda.is_available(), reason="the kernels need Triton and a CUDA device"
)


def steps_of(count: int, *, backwards: bool) -> list[tuple[int, int]]:
    """(direction, position) in the order in which each direction hears its row, or the gradient comes back."""
    return [(d, n) for d in (0, 1) for n in (range(count) if backwards == bool(d) else reversed(range(count)))]


def plain_forward(gates: Tensor, weight: Tensor, out: Tensor, kept: Tensor) -> None:
    rows, steps, _, _, hidden = gates.shape
    h, c = torch.zeros(2, rows, hidden), torch.zeros(2, rows, hidden)
    for d, n in steps_of(steps, backwards=False):
        i, f, g, o = (gates[:, n, d].float() + (h[d] @ weight[d].float()).transpose(0, 1)).unbind(1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        slopes = [g * i * (1 - i), c[d] * f * (1 - f), i * (1 - g * g)]
        c[d] = f * c[d] + i * g
        t = c[d].tanh()
        gates[:, n, d] = torch.stack([*slopes, t * o * (1 - o)], 1)
        kept[:, n, d] = torch.stack([f, o * (1 - t * t)], 1)
        h[d] = (o * t).bfloat16()
        out[:, n, d * hidden : (d + 1) * hidden] = h[d]


def plain_backward(slope: Tensor, gates: Tensor, kept: Tensor, weight: Tensor, slopes: Tensor) -> None:
    rows, steps, _, _, hidden = gates.shape
    dh, dc = torch.zeros(2, rows, hidden), torch.zeros(2, rows, hidden)
    for d, n in steps_of(steps, backwards=True):
        dh[d] += slope[:, n, d * hidden : (d + 1) * hidden].float()
        dc[d] += dh[d] * kept[:, n, d, 1]
        slopes[:, n, d] = torch.stack([dc[d], dc[d], dc[d], dh[d]], 1) * gates[:, n, d]
        dc[d] *= kept[:, n, d, 0]
        dh[d] = slopes[:, n, d].float().flatten(1) @ weight[d].float().flatten(0, 1)


@pytest.fixture
def plain_kernels(monkeypatch):
    plain = {fused_lstm._forward_kernel: plain_forward, fused_lstm._backward_kernel: plain_backward}
    monkeypatch.setattr(fused_lstm, "_launch", lambda kernel, block, shape, *tensors: plain[kernel](*tensors))


def lstm_and_rows(channels: int = 6, hidden: int = 16, rows: int = 5, steps: int = 9) -> tuple[LSTM, Tensor]:
    torch.manual_seed(0)
    return LSTM(channels, hidden), torch.randn(rows, steps, channels)


def results(lstm: LSTM, rows: Tensor, output: Tensor) -> list[Tensor]:
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return [output.detach(), *torch.autograd.grad(output, [rows, *lstm.parameters()], weight)]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for value, true in zip(found, expected, strict=True):
        assert value.shape == true.shape
        assert (value.float() - true).norm() <= 0.02 * true.norm()


@pytest.mark.parametrize(("rows", "steps"), [(5, 9), (1, 64), (7, 1)])
def test_outside_the_kernels_all_is_as_in_torch(plain_kernels, rows, steps):
    lstm, x = lstm_and_rows(rows=rows, steps=steps)
    x.requires_grad_()
    weights = [weight for direction in lstm.all_weights for weight in direction]
    found = results(lstm, x, fused_lstm.bidirectional(x, weights))
    assert found[0].dtype == torch.bfloat16
    assert [gradient.dtype for gradient in found[1:]] == [torch.float32] * 9
    assert_close(found, results(lstm, x, lstm(x)))
    before = [gradient.clone() for gradient in found]
    for gradient in found:
        gradient.mul_(2)  # as clipping does, in place
    assert all(torch.equal(gradient, 2 * value) for gradient, value in zip(found, before, strict=True))


def test_both_inputs_in_bfloat16_and_twice_the_same_gradient(plain_kernels):
    lstm, x = lstm_and_rows()
    rounded = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = fused_lstm.bidirectional(rounded, [w for direction in lstm.all_weights for w in direction])
    once, twice = (torch.autograd.grad(out.float().sum(), rounded, retain_graph=True)[0] for _ in range(2))
    assert once.dtype == torch.bfloat16
    assert torch.equal(once, twice)


@pytest.mark.parametrize("training", [True, False])
def test_the_lstm_in_bfloat16_is_the_lstm(training):
    lstm, x = lstm_and_rows()
    lstm.train(training)
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = results(lstm, x, lstm.in_bfloat16(x))
    assert found[0].dtype == torch.bfloat16
    assert_close(found, results(lstm, x, lstm(x)))


def test_training_takes_the_kernels_where_they_work(plain_kernels, monkeypatch):
    lstm, x = lstm_and_rows()
    seen = []
    monkeypatch.setattr(fused_lstm, "works", lambda hidden, device: seen.append((hidden, device.type)) or True)
    monkeypatch.setattr(fused_lstm.FusedLSTM, "apply", lambda rows, *weights: "fused")
    assert lstm.in_bfloat16(x) == "fused"
    assert seen == [(16, "cpu")]
    with torch.no_grad():
        assert lstm.in_bfloat16(x).shape == (5, 9, 32)


def test_without_a_gpu_nothing_is_tried_or_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused_lstm.works(128, CPU)


@pytest.mark.parametrize("fault", ["compiler", "values"])
def test_what_does_not_work_is_said_once_and_left(fault, monkeypatch):
    def deviation(hidden: int, device: torch.device) -> float:
        if fault == "compiler":
            raise RuntimeError("no C compiler\nand much more")
        return 0.5

    monkeypatch.setattr(fused_lstm, "triton", object())
    monkeypatch.setattr(fused_lstm, "_deviation", deviation)
    fused_lstm.works.cache_clear()
    said = {"compiler": "RuntimeError: no C compiler", "values": "deviates by 50.0%"}[fault]
    with pytest.warns(UserWarning, match=said):
        assert not fused_lstm.works(64, torch.device("cuda", 9))
    assert not fused_lstm.works(64, torch.device("cuda", 9))
    assert not fused_lstm.works(24, torch.device("cuda", 9)), "not a multiple of 16"
    assert not fused_lstm.works(144, torch.device("cuda", 9)), "too large for the chip"
    fused_lstm.works.cache_clear()


def test_the_trial_tells_right_from_wrong(plain_kernels, monkeypatch):
    assert fused_lstm._deviation(16, CPU) < fused_lstm._TOLERANCE
    correlation = fused_lstm._correlation
    for fault in (1.1, float("nan")):
        monkeypatch.setattr(fused_lstm, "_correlation", lambda a, b, fault=fault: fault * correlation(a, b))
        assert not fused_lstm._deviation(16, CPU) < fused_lstm._TOLERANCE


@needs_gpu
@pytest.mark.parametrize(("hidden", "rows"), [*product((16, 96, 128), (1, 70))])
def test_the_kernels_are_the_lstm(hidden, rows):
    lstm, x = lstm_and_rows(hidden, hidden, rows, 20)
    lstm, x = copy.deepcopy(lstm).cuda(), x.cuda().requires_grad_()
    assert fused_lstm.works(hidden, x.device)
    with torch.autocast("cuda", torch.bfloat16):
        found = results(lstm, x, lstm(x))
    assert_close(found, results(lstm, x, lstm(x)))
    for gradient, true in zip(found[1:], results(lstm, x, lstm(x))[1:], strict=True):
        assert functional.cosine_similarity(gradient.flatten().float(), true.flatten(), dim=0) > 0.999
