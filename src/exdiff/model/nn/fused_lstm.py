"""A bidirectional LSTM for training on CUDA: all steps of a row inside one Triton kernel, forwards and backwards.

cuDNN goes from step to step with new kernels that read the recurrent matrices again. Here a program keeps the matrices
of one direction on the chip and walks along a block of rows. Only the recurrence is in the kernels; all that has no
loop over time is one large product outside. Matrices and what is kept for the backward pass are bfloat16, sums are
float32.
"""

# The kernels' compiler takes no annotations but its own.
# ruff: noqa: ANN001, ANN202
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from exdiff.model.nn.precision import full_precision

try:  # it comes with torch where torch is for CUDA
    import triton  # pyright: ignore[reportMissingImports]
    import triton.language as tl  # pyright: ignore[reportMissingImports]
except ImportError:
    triton = tl = cast("Any", None)

_MOST = 128  # units: more matrices do not fit on the chip
_FORWARD_ROWS, _BACKWARD_ROWS = 16, 64  # of a program: the fastest on an H200 for 5,120 rows of 64 steps
_WARPS = 8
_PIECES = 32  # of the long sums over all steps, side by side
_TOLERANCE = 0.03  # relative deviation from float32 that bfloat16 explains


def _jit(function: Callable[..., Any]) -> Any:
    """Triton's compiler; `rows` and `steps` may change without a new compilation."""
    names = [name for name in ("rows", "steps") if name in inspect.signature(function).parameters]
    return triton.jit(do_not_specialize=names)(function) if triton else function


@_jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@_jit
def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@_jit
def _matrices(weight, H: tl.constexpr, P: tl.constexpr):
    """Those of the four gates [4, H, H], each with zeros around it up to [P, P]."""
    row, column = tl.arange(0, P)[:, None], tl.arange(0, P)[None, :]
    inside = (row < H) & (column < H)
    weight += row * H + column
    i = tl.load(weight, mask=inside, other=0.0)
    f = tl.load(weight + H * H, mask=inside, other=0.0)
    g = tl.load(weight + 2 * H * H, mask=inside, other=0.0)
    o = tl.load(weight + 3 * H * H, mask=inside, other=0.0)
    return i, f, g, o


@_jit
def _forward_kernel(gates, weight, out, kept, rows, steps, H: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr):
    """`gates` [R, N, 2, 4, H] from the input, `weight` [2, 4, H, H] as [in, out] -> `out` [R, N, 2, H].

    Left for the backward pass: in `gates` the slope of c by each of i, f and g before its activation, and of h by o;
    in `kept` [R, N, 2, 2, H] the slope of c by the c before, and of h by c.
    """
    direction = tl.program_id(1)
    first = tl.program_id(0) * BLOCK
    row, column = tl.arange(0, BLOCK)[:, None], tl.arange(0, P)[None, :]
    there = (first + row < rows) & (column < H)
    start = first.to(tl.int64) * steps * 2 + direction  # of the block's first row, in vectors of one direction
    row *= steps * 2 * H
    wi, wf, wg, wo = _matrices(weight + direction * 4 * H * H, H, P)
    h = tl.zeros([BLOCK, P], tl.bfloat16)
    c = tl.zeros([BLOCK, P], tl.float32)
    for s in range(0, steps):
        place = (start + 2 * (s + direction * (steps - 1 - 2 * s))) * H
        gate = gates + 4 * place + (4 * row + column)
        pair = kept + 2 * place + (2 * row + column)
        xi = tl.load(gate, mask=there, other=0.0)
        xf = tl.load(gate + H, mask=there, other=0.0)
        xg = tl.load(gate + 2 * H, mask=there, other=0.0)
        xo = tl.load(gate + 3 * H, mask=there, other=0.0)
        i = _sigmoid(tl.dot(h, wi, xi.to(tl.float32)))
        g = _tanh(tl.dot(h, wg, xg.to(tl.float32)))
        tl.store(gate, (g * i * (1.0 - i)).to(tl.bfloat16), mask=there)
        tl.store(gate + 2 * H, (i * (1.0 - g * g)).to(tl.bfloat16), mask=there)
        f = _sigmoid(tl.dot(h, wf, xf.to(tl.float32)))
        tl.store(gate + H, (c * f * (1.0 - f)).to(tl.bfloat16), mask=there)
        tl.store(pair, f.to(tl.bfloat16), mask=there)
        c = f * c + i * g
        t = _tanh(c)
        o = _sigmoid(tl.dot(h, wo, xo.to(tl.float32)))
        tl.store(gate + 3 * H, (t * o * (1.0 - o)).to(tl.bfloat16), mask=there)
        tl.store(pair + H, (o * (1.0 - t * t)).to(tl.bfloat16), mask=there)
        h = (o * t).to(tl.bfloat16)
        tl.store(out + place + (row + column), h, mask=there)


@_jit
def _backward_kernel(
    slope, gates, kept, weight, slopes, rows, steps, H: tl.constexpr, P: tl.constexpr, BLOCK: tl.constexpr
):
    """`slope` [R, N, 2, H] by the output, `weight` as [out, in] -> `slopes` [R, N, 2, 4, H] by the gates.

    `gates` and `kept` are what the forward pass left.
    """
    direction = tl.program_id(1)
    first = tl.program_id(0) * BLOCK
    row, column = tl.arange(0, BLOCK)[:, None], tl.arange(0, P)[None, :]
    there = (first + row < rows) & (column < H)
    start = first.to(tl.int64) * steps * 2 + direction
    row *= steps * 2 * H
    wi, wf, wg, wo = _matrices(weight + direction * 4 * H * H, H, P)
    dh = tl.zeros([BLOCK, P], tl.float32)
    dc = tl.zeros([BLOCK, P], tl.float32)
    for s in range(0, steps):
        place = (start + 2 * (steps - 1 - s + direction * (2 * s - steps + 1))) * H
        known = gates + 4 * place + (4 * row + column)
        found = slopes + 4 * place + (4 * row + column)
        pair = kept + 2 * place + (2 * row + column)
        dh += tl.load(slope + place + (row + column), mask=there, other=0.0).to(tl.float32)
        do = (dh * tl.load(known + 3 * H, mask=there, other=0.0).to(tl.float32)).to(tl.bfloat16)
        dc += dh * tl.load(pair + H, mask=there, other=0.0).to(tl.float32)
        di = (dc * tl.load(known, mask=there, other=0.0).to(tl.float32)).to(tl.bfloat16)
        df = (dc * tl.load(known + H, mask=there, other=0.0).to(tl.float32)).to(tl.bfloat16)
        dg = (dc * tl.load(known + 2 * H, mask=there, other=0.0).to(tl.float32)).to(tl.bfloat16)
        dc *= tl.load(pair, mask=there, other=0.0).to(tl.float32)
        tl.store(found, di, mask=there)
        tl.store(found + H, df, mask=there)
        tl.store(found + 2 * H, dg, mask=there)
        tl.store(found + 3 * H, do, mask=there)
        dh = tl.dot(di, wi)
        dh = tl.dot(df, wf, dh)
        dh = tl.dot(dg, wg, dh)
        dh = tl.dot(do, wo, dh)


def _launch(kernel: Any, block: int, shape: Sequence[int], *tensors: Tensor) -> None:
    """Run a kernel over all rows in both directions; `shape` is that of the gates."""
    rows, steps, _, _, hidden = shape
    sizes = {"H": hidden, "P": triton.next_power_of_2(hidden), "BLOCK": block}
    with torch.cuda.device_of(tensors[0]):  # Triton launches on the current device
        kernel[(triton.cdiv(rows, block), 2)](*tensors, rows, steps, **sizes, num_warps=_WARPS, num_stages=1)


class FusedLSTM(Function):
    """Rows [R, N, C] and the eight weights of a bidirectional nn.LSTM -> [R, N, 2 * hidden] in bfloat16."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *weights: Tensor) -> Tensor:
        hidden = weights[1].shape[1]
        inputs = rows.to(torch.bfloat16).flatten(0, 1)
        matrix = torch.cat([weights[0], weights[4]]).to(torch.bfloat16)
        recurrent = torch.stack([weights[1], weights[5]]).to(torch.bfloat16).view(2, 4, hidden, hidden)
        bias = (torch.cat([weights[2], weights[6]]) + torch.cat([weights[3], weights[7]])).to(torch.bfloat16)
        gates = torch.addmm(bias, inputs, matrix.t()).view(*rows.shape[:2], 2, 4, hidden)
        out = gates.new_empty(*rows.shape[:2], 2 * hidden)
        kept = gates.new_empty(*rows.shape[:2], 2, 2, hidden)
        _launch(_forward_kernel, _FORWARD_ROWS, gates.shape, gates, recurrent.mT.contiguous(), out, kept)
        ctx.save_for_backward(inputs, gates, kept, out, matrix, recurrent)
        ctx.dtypes = [t.dtype for t in (rows, *weights)]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slope: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        inputs, gates, kept, out, matrix, recurrent = ctx.saved_tensors
        slopes, hidden = torch.empty_like(gates), gates.shape[-1]
        _launch(_backward_kernel, _BACKWARD_ROWS, gates.shape, slope[0].contiguous(), gates, kept, recurrent, slopes)
        before = torch.zeros_like(out)  # what each step got from the one before
        before[:, 1:, :hidden] = out[:, :-1, :hidden]
        before[:, :-1, hidden:] = out[:, 1:, hidden:]
        slopes = slopes.view(-1, 8 * hidden)
        found = [(slopes @ matrix).view(*out.shape[:2], -1)]
        by_matrix, by_bias = _correlation(slopes, inputs).chunk(2), slopes.sum(0, dtype=torch.float32).chunk(2)
        for i, (own, past) in enumerate(zip(slopes.chunk(2, 1), before.flatten(0, 1).chunk(2, 1), strict=True)):
            # A copy, since clipping works in place: two gradients in one memory would be scaled twice.
            found += [by_matrix[i], _correlation(own, past), by_bias[i], by_bias[i].clone()]
        return tuple(gradient.to(dtype) for gradient, dtype in zip(found, ctx.dtypes, strict=True))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """a^T b of [L, A] and [L, B] in float32; the pieces of the long sum are computed side by side."""
    pieces = math.gcd(len(a), _PIECES)
    return torch.bmm(a.unflatten(0, (pieces, -1)).mT, b.unflatten(0, (pieces, -1))).sum(0, dtype=torch.float32)


def bidirectional(rows: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The output of a bidirectional LSTM, differentiable once; see `FusedLSTM`. Ask `works` first.

    Args:
        rows: [R, N, channels].
        weights: as in nn.LSTM: input, recurrent and the two biases, of the forward, then of the backward direction.
    """
    with full_precision(rows.device.type):
        return cast("Tensor", FusedLSTM.apply(rows, *weights))


@functools.cache
def works(hidden: int, device: torch.device) -> bool:
    """Whether the kernels run on this device with so many units and agree with torch; tried once, in some seconds."""
    if triton is None or device.type != "cuda" or hidden % 16 or hidden > _MOST:
        return False
    try:
        deviation = _deviation(hidden, device)
    except Exception as error:  # a compiler that is missing, too little memory on the chip, ...
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if deviation < _TOLERANCE:
            return True
        reason = f"it deviates by {deviation:.1%}"
    warnings.warn(f"the fused LSTM does not work on {device}, training is slower without it ({reason})", stacklevel=2)
    return False


def _deviation(hidden: int, device: torch.device) -> float:
    """The largest relative deviation from torch's LSTM on the CPU in float32, of the output and of all gradients."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shapes = [(4 * hidden, hidden), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,)] * 2
    slope, state = draw(19, 5, 2 * hidden), torch.zeros(2, 19, hidden)
    inputs = [draw(19, 5, hidden), *(draw(*shape) / math.sqrt(hidden) for shape in shapes)]
    here, there = ([t.to(place).requires_grad_() for t in inputs] for place in (torch.device("cpu"), device))
    with torch.enable_grad(), full_precision(device.type):
        plain = torch.lstm(here[0], (state, state), here[1:], True, 1, 0.0, True, True, True)[0]
        pairs = [(plain, here), (bidirectional(there[0], there[1:]), there)]
        results = [[y.detach(), *torch.autograd.grad(y, xs, slope.to(y.device, y.dtype))] for y, xs in pairs]
    apart = [(a - b.cpu().float()).norm() / a.norm() for a, b in zip(*results, strict=True)]
    return float(torch.stack(apart).max())
