"""Sequence models of the dual-path block: what looks along rows of frequency bands, and along blocks of frames.

Each maps rows [R, N, channels] -> [R, N, width] and sees the whole row from every position. The LSTM goes along it one
step after the other, which keeps a GPU waiting; the others take all positions, or many, at once.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from exdiff.core.machine import computed_dtype
from exdiff.model.nn import fused_lstm
from exdiff.model.nn.precision import full_precision

_CHUNK = 8  # steps of a scan that are taken one after the other
_REACH = 64  # positions apart beyond which attention no longer tells distances
_HEADS = 4


class LSTM(nn.LSTM):
    """A bidirectional LSTM.

    Under autocast cuDNN would compute it in float16, where small gradients vanish: on CUDA it is computed in bfloat16.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, hidden, batch_first=True, bidirectional=True)
        self.width = 2 * hidden

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        """[R, N, channels] -> [R, N, 2 * hidden]."""
        if input.is_cuda and computed_dtype(input) == torch.bfloat16:
            return self.in_bfloat16(input)
        return super().forward(input)[0]

    def in_bfloat16(self, rows: Tensor) -> Tensor:
        """The output in bfloat16, computed from weights that are rounded to it."""
        weights = [weight for direction in self.all_weights for weight in direction]
        if torch.is_grad_enabled() and fused_lstm.works(self.hidden_size, rows.device):
            return fused_lstm.bidirectional(rows, weights)
        # Rounded in one piece, in the order in which cuDNN wants them: otherwise it copies them again and warns.
        order = [0, 1, 4, 5, 2, 3, 6, 7]
        pieces = torch.cat([weights[i].flatten() for i in order]).to(torch.bfloat16)
        sizes = [weights[i].numel() for i in order]
        rounded = dict(zip(order, pieces.split(sizes), strict=True))
        weights = [rounded[i].view_as(weight) for i, weight in enumerate(weights)]
        state = weights[0].new_zeros(2, rows.shape[0], self.hidden_size)
        with full_precision(rows.device.type):
            return torch.lstm(
                rows.to(torch.bfloat16), (state, state), weights, True, 1, 0.0, self.training, True, True
            )[0]


class Scan(nn.Module):
    """A gated linear recurrence in both directions (minGRU, Feng et al. 2024), its output gated by the input.

    h_t = a_t h_(t-1) + (1 - a_t) c_t, where a and c come from x_t alone. So the recurrence is linear in h, and chunks
    of the row run side by side. At first the units remember from one to about thirty positions.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.project = nn.Linear(channels, 6 * hidden)
        memory = torch.logspace(0, 5, hidden + 1, base=2)[1:]  # positions: a = 1 - 1 / memory
        with torch.no_grad():
            self.project.bias[: 2 * hidden] = (memory - 1).log().repeat(2)

    def forward(self, rows: Tensor) -> Tensor:
        """[R, N, channels] -> [R, N, 2 * hidden]."""
        length = rows.shape[1]
        retention, candidate, gate = self.project(rows).chunk(3, -1)
        if length % _CHUNK:
            retention, candidate = (functional.pad(t, (0, 0, 0, -length % _CHUNK)) for t in (retention, candidate))
        states = cast("Tensor", Recurrence.apply(retention, candidate))
        return states[:, :length] * functional.silu(gate)


class Recurrence(Function):
    """h_t = a_t h_(t-1) + (1 - a_t) c_t with a = sigmoid(retention), from zero, N a multiple of the chunk.

    Retention and c are [R, N, 2 * hidden]. The first half of the channels runs forwards, the second half backwards. The
    gradient with respect to h obeys the same recurrence in the other direction: g_t = dh_t + a_(t+1) g_(t+1).
    """

    @staticmethod
    def forward(ctx: Any, retention: Tensor, candidate: Tensor) -> Tensor:
        keep = retention.sigmoid()
        states = torch.addcmul(candidate, keep, candidate, value=-1)
        _scan(keep.clone(), states)
        ctx.save_for_backward(keep, candidate, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        keep, candidate, states = ctx.saved_tensors
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        _scan(_previous(keep, ahead=True), gradient, ahead=True)
        towards_candidate = torch.addcmul(gradient, gradient, keep, value=-1)
        return _previous(states).sub_(candidate).mul_(keep).mul_(towards_candidate), towards_candidate


def _previous(x: Tensor, *, ahead: bool = False) -> Tensor:
    """The value one step earlier in each half's direction, or with `ahead` one step later; zero at the start."""
    shifted = torch.zeros_like(x)
    half = x.shape[2] // 2
    forwards, backwards = (slice(half, None), slice(half)) if ahead else (slice(half), slice(half, None))
    shifted[:, 1:, forwards] = x[:, :-1, forwards]
    shifted[:, :-1, backwards] = x[:, 1:, backwards]
    return shifted


def _scan(keep: Tensor, x: Tensor, *, ahead: bool = False) -> None:
    """Replace x_t by h_t = keep_t h_(t-1) + x_t, in both directions, or with `ahead` in the opposite two.

    It spoils `keep`. Chunks first run side by side from zero; then each adds what the last state before it has become.
    """
    half = x.shape[2] // 2
    for channels, backwards in ((slice(half), ahead), (slice(half, None), not ahead)):
        a, h = (t[:, :, channels].unflatten(1, (-1, _CHUNK)) for t in (keep, x))
        step, first = (-1, -1) if backwards else (1, 0)
        for i in range(first + step, first + step * _CHUNK, step):
            h[:, :, i].addcmul_(a[:, :, i], h[:, :, i - step])
            a[:, :, i].mul_(a[:, :, i - step])
        last = first - step
        for k in range(first + step, first + step * h.shape[1], step):
            h[:, k].addcmul_(a[:, k], h[:, k - step, last].unsqueeze(1))


class Attention(nn.Module):
    """Attention within the row, with a bias for each distance; values are gated by the input (Hua et al. 2022).

    Queries and keys are normalised, so that no growth of the weights makes attention blindly sharp. Rows are short: the
    plain products are faster than fused attention, which is made for long ones.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        if hidden % _HEADS:
            raise ValueError(f"attention has {_HEADS} heads, which must divide hidden, got {hidden}")
        self.width = hidden
        self.project = nn.Linear(channels, 4 * hidden)
        self.distance = nn.Parameter(torch.zeros(_HEADS, 2 * _REACH + 1))

    def forward(self, rows: Tensor) -> Tensor:
        """[R, N, channels] -> [R, N, hidden]."""
        near, value, gate = self.project(rows).split((2 * self.width, self.width, self.width), -1)
        near = near.unflatten(-1, (2, _HEADS, -1))
        with full_precision(near.device.type):  # on CUDA autocast would make a float32 copy
            near = functional.layer_norm(near, near.shape[-1:])
        query, key = near.permute(2, 0, 3, 1, 4)
        value = value.unflatten(-1, (_HEADS, -1)).transpose(1, 2)
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3)
        scores = scores + self._bias(rows.shape[1]).to(scores.dtype)
        seen = scores.softmax(-1, dtype=scores.dtype) @ value
        return seen.transpose(1, 2).flatten(2) * functional.silu(gate)

    def macs(self, rows: Tensor) -> float:
        """Multiply-accumulates of the two products; see exdiff.model.nn.cost."""
        return 2.0 * self.width * rows.shape[0] * rows.shape[1] ** 2

    def _bias(self, length: int) -> Tensor:
        """[heads, length, length]."""
        position = torch.arange(length, device=self.distance.device)
        return self.distance[:, (position - position[:, None]).clamp(-_REACH, _REACH) + _REACH]


SEQUENCES: dict[str, type[LSTM | Scan | Attention]] = {"lstm": LSTM, "scan": Scan, "attention": Attention}
