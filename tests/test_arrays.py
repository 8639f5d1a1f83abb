"""Any array in, the same kind of array out."""

import numpy as np
import pytest
import torch

from exdiff.arrays import check_rate, to_float
from exdiff.errors import AudioError


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "int32", "uint8", "int8"])
@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("torch_too", [False, True])
def test_there_and_back(dtype, shape, torch_too):
    values = np.random.default_rng(0).uniform(-1, 1, shape)
    audio = (values if "float" in dtype else values * np.iinfo(dtype).max).astype(dtype)
    given = torch.from_numpy(audio) if torch_too else audio
    samples, form = to_float(given)
    assert samples.ndim == 2
    assert samples.dtype == np.float32
    assert np.abs(samples).max(initial=0) <= 1
    back = form.restore(samples)
    assert type(back) is type(given)
    assert back.dtype == given.dtype
    assert tuple(back.shape) == shape
    tolerance = 2**8 if dtype == "int32" else 1e-6  # float32 holds 24 of the 32 bits
    np.testing.assert_allclose(np.asarray(back, np.float64), audio.astype(np.float64), atol=tolerance)


def test_bfloat16_and_gradients_pass():
    audio = torch.rand(2, 5, requires_grad=True).to(torch.bfloat16)
    samples, form = to_float(audio)
    back = form.restore(samples)
    assert back.dtype == torch.bfloat16
    assert not back.requires_grad
    assert torch.equal(back, audio.detach())


def test_integers_clip_instead_of_wrapping_around():
    _, form = to_float(np.zeros(3, np.int16))
    assert form.restore(np.array([[2.0, -2.0, 0.0]], np.float32)).tolist() == [32767, -32768, 0]


@pytest.mark.parametrize(
    ("audio", "match"),
    [
        ([0.0, 1.0], "numpy array or a torch tensor, got list"),
        (np.zeros((1, 2, 3)), r"shape \[T\] or \[C, T\], got \[1, 2, 3\]"),
        (np.float32(1), r"got float32"),
        (np.zeros((48000, 2)), r"it looks like \[T, C\]: transpose it"),
        (np.zeros((0, 5)), "1 to 64 channels"),
        (np.zeros(3, np.complex64), "integers of up to 32 bits, got complex64"),
        (np.zeros(3, np.int64), "integers of up to 32 bits, got int64"),
        (torch.zeros(3, dtype=torch.int64), "integers of up to 32 bits, got int64"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (torch.tensor([0.0, torch.inf]), "NaN or infinite"),
        (np.array([1e300]), "NaN or infinite"),
    ],
)
def test_what_is_refused(audio, match):
    with pytest.raises(AudioError, match=match):
        to_float(audio)


@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000)])
def test_rates(rate):
    assert check_rate(rate) == 16000
    assert type(check_rate(rate)) is int


@pytest.mark.parametrize("rate", [0, -1, 999, 44100.5, 10**6, "16000", None, True, np.nan])
def test_rates_that_are_refused(rate):
    with pytest.raises(AudioError, match="sample_rate"):
        check_rate(rate)
