"""Every operation gives what PyTorch's own gives."""

from __future__ import annotations

import operator

import pytest
import torch
from torch.nn import functional

from exdiff.checkpoints.export.operations import REPLACED, TRANSFORMS, recurrence
from exdiff.checkpoints.export.pair import Pair
from exdiff.checkpoints.export.real import GivenNoise, real_numbers
from exdiff.model.nn.sequences import Recurrence


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(len(shape)))


def paired(x):
    return Pair(x.real, x.imag) if isinstance(x, torch.Tensor) and x.is_complex() else x


def joined(x):
    return torch.complex(x.real, x.imag) if isinstance(x, Pair) else x


X, Y, Z = (draw(2, 3, 4, dtype=torch.complex64), draw(2, 3, 4, 1, dtype=torch.complex64)[..., 0], draw(2, 3, 4))
SHORT = torch.tensor([1e-9, 1e-6, 1e-3, 0.1, 3.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y, z: x + y * x - y,
        lambda x, y, z: -x * 2.0 + 2.0 * x,
        lambda x, y, z: x * z + z * x + x / (1 + z**2),
        lambda x, y, z: x / 3,
        lambda x, y, z: x.abs(),
        lambda x, y, z: x.mT,
        lambda x, y, z: x.reshape(6, *x.shape[2:]),
        lambda x, y, z: x[:, None, ..., 1:],
        lambda x, y, z: functional.pad(x, (0, 2)),
        lambda x, y, z: torch.tensor((*x.shape, x.ndim)),
        lambda x, y, z: torch.complex(x.real, z),
    ],
)
def test_a_pair_computes_as_a_complex_tensor(function):
    wanted = function(X, Y, Z)
    with real_numbers(torch.tensor(1)):
        found = function(paired(X), paired(Y), Z)
    torch.testing.assert_close(joined(found), wanted)


CASES = {
    torch.stft: lambda: [
        torch.stft(draw(2, 300), 30, 8, window=torch.hann_window(30), pad_mode=mode, return_complex=True)
        for mode in ("constant", "reflect")
    ],
    torch.fft.rfft: lambda: torch.fft.rfft(draw(2, 3, 30)),
    torch.fft.irfft: lambda: torch.fft.irfft(torch.complex(draw(2, 3, 16), draw(3, 16)), 30),
    torch.Tensor.__floordiv__: lambda: [operator.floordiv(torch.tensor(x), 4) for x in (-9, -8, -1, 0, 7, 8)],
    torch.Tensor.split: lambda: [*draw(5, 2).split(2), *draw(5, 2).split([4, 1]), *draw(2, 5).split(3, 1)],
    torch.Tensor.unflatten: lambda: [draw(2, 6).unflatten(-1, (2, 3)), draw(6, 2).unflatten(0, (3, 2))],
    torch.Tensor.unfold: lambda: [
        draw(2, 17, 3).unfold(1, 6, 4),
        draw(2, 16).unfold(1, 8, 4),
        draw(1, 2, 4, 9).unfold(3, 9, 5),
    ],
    functional.adaptive_avg_pool2d: lambda: [
        functional.adaptive_avg_pool2d(draw(1, 2, 7, 10), size) for size in ((3, 4), (7, 9), (1, 10))
    ],
    functional.conv2d: lambda: functional.conv2d(draw(1, 2, 5, 5), draw(2, 1, 3, 3), padding=1, groups=2),
    functional.conv_transpose2d: lambda: functional.conv_transpose2d(draw(1, 2, 5, 5), draw(2, 1, 3, 3), stride=2),
    functional.layer_norm: lambda: functional.layer_norm(draw(2, 3, 4), (4,), draw(4)),
    functional.pad: lambda: functional.pad(draw(1, 9), (0, 3), mode="reflect"),
    torch.complex: lambda: torch.complex(draw(2, 3), draw(3, 2).T),
    torch.expm1: lambda: torch.expm1(SHORT),
    torch.log1p: lambda: torch.log1p(SHORT),
    torch.ops.aten.unfold_backward: lambda: [
        torch.ops.aten.unfold_backward(draw(2, 6, size), [2, 40 + size], 1, size, 8) for size in (16, 30, 5)
    ],
}


def test_every_operation_has_a_case():
    assert CASES.keys() == {*REPLACED, *TRANSFORMS}


@pytest.mark.parametrize("case", CASES.values(), ids=[function.__name__ for function in CASES])
def test_an_operation_gives_what_it_replaces(case):
    wanted = case()
    with real_numbers(torch.tensor(1)):
        found = case()
    for a, b in zip(found, wanted, strict=True) if isinstance(wanted, list) else [(found, wanted)]:
        torch.testing.assert_close(joined(a), b, atol=2e-6, rtol=1e-5)


def test_the_recurrence_without_steps_in_place():
    retention, candidate = draw(3, 24, 8), draw(3, 24, 8) + 1
    torch.testing.assert_close(recurrence(retention, candidate), Recurrence.apply(retention, candidate))
    with real_numbers(torch.tensor(1)):
        assert Recurrence.apply is recurrence
    assert Recurrence.apply is not recurrence


def test_noise_is_given_draw_by_draw_with_a_total_variance_of_one():
    noise = draw(2, 1, 50, 40, 2)
    like = torch.zeros(1, 1, 50, 30, dtype=torch.complex64)
    with GivenNoise(noise) as given:
        first, second = torch.randn_like(like), torch.randn_like(like)
        torch.randn_like(like.real)  # real noise is none of ours
    assert given.drawn == 2
    torch.testing.assert_close(first[0], torch.view_as_complex(noise[0, :, :, :30].contiguous()) * 0.5**0.5)
    assert float(second.abs().square().mean()) == pytest.approx(1, abs=0.1)
    with GivenNoise(noise), real_numbers(torch.tensor(1)):
        pair = torch.randn_like(paired(like))
    torch.testing.assert_close(joined(pair), first)
