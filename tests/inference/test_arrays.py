"""Any array in, the same kind of array out."""

import numpy as np
import pytest
import torch

from exdiff.core.errors import AudioError
from exdiff.inference.arrays import check_rate, to_float


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int16", "int32", "uint8", "int8", "uint16", "uint32"]
)
@pytest.mark.parametrize("shape", [(6,), (1, 6), (2, 3), (0,), (2, 0), (3, 2, 5), (1, 1, 4), (2, 1, 0), (0, 2, 3)])
@pytest.mark.parametrize("torch_too", [False, True])
def test_there_and_back(dtype, shape, torch_too):
    values = np.random.default_rng(0).uniform(-1, 1, shape)
    dtype = np.dtype(dtype)
    limits = (0, 1) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    audio = (values if dtype.kind == "f" else limits[0] + (values + 1) / 2 * (limits[1] - limits[0])).astype(dtype)
    given = torch.from_numpy(audio) if torch_too else audio
    samples, form = to_float(given)
    assert tuple(samples.shape) == (1, 1, 1)[len(shape) :] + shape
    assert samples.dtype == torch.float32
    assert samples.abs().sum() == 0 or samples.abs().max() <= 1
    back = form.restore(samples)
    assert type(back) is type(given)
    assert back.dtype == given.dtype
    assert tuple(back.shape) == shape
    tolerance = 2**8 if dtype.kind in "iu" and dtype.itemsize == 4 else 1e-6  # float32 holds 24 of the 32 bits
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
    assert form.restore(torch.tensor([[[2.0, -2.0, 0.0]]])).tolist() == [32767, -32768, 0]
    _, form = to_float(torch.zeros(2, dtype=torch.int32))
    assert form.restore(torch.tensor([[[3e38, -3e38]]])).tolist() == [2**31 - 1, -(2**31)]


@pytest.mark.parametrize(
    ("audio", "match"),
    [
        ([0.0, 1.0], "numpy array or a torch tensor, got list"),
        (np.zeros((1, 2, 3, 4)), r"shape \[T\], \[C, T\] or \[B, C, T\], got \[1, 2, 3, 4\]"),
        (np.zeros(()), r"shape \[T\], \[C, T\] or \[B, C, T\], got \[\]"),
        (np.zeros((4, 48000, 2)), r"it looks like \[T, C\]: pass channels_last=True"),
        (np.zeros(3, bool), "integers of up to 32 bits, got bool"),
        (torch.zeros(3, dtype=torch.bool), "integers of up to 32 bits, got bool"),
        (torch.zeros(3, dtype=torch.complex64), "integers of up to 32 bits, got complex64"),
        (np.float32(1), r"got float32"),
        (np.zeros((48000, 2)), r"it looks like \[T, C\]: pass channels_last=True"),
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


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("shape", [(9,), (9, 2), (3, 9, 2)])
def test_channels_last_there_and_back(shape, kind):
    audio = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    samples, form = to_float(kind(audio), channels_last=True)
    plain, _ = to_float(np.moveaxis(audio, -1, -2) if len(shape) > 1 else audio)
    assert torch.equal(samples, plain)
    back = form.restore(samples)
    assert tuple(back.shape) == shape
    np.testing.assert_array_equal(np.asarray(back), audio)


def test_channels_last_of_the_other_layout_is_refused():
    with pytest.raises(
        AudioError, match=r"\[T, C\] must have 1 to 64 channels.*looks like \[C, T\]: leave channels_last"
    ):
        to_float(np.zeros((2, 48000)), channels_last=True)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_samples_are_a_copy(kind):
    """Callers of streams may fill one buffer again and again."""
    audio = np.ones((2, 5), np.float32)
    samples, _ = to_float(kind(audio))
    audio[:] = 7
    assert samples.max() == 1


@pytest.mark.parametrize("dtype", [">i2", ">f4", "<f8"])
def test_foreign_byte_orders_pass(dtype):
    audio = np.array([0, 1, -1], dtype)
    samples, form = to_float(audio)
    back = form.restore(samples)
    assert back.dtype == audio.dtype
    np.testing.assert_array_equal(back, audio)


def test_read_only_and_reversed_arrays_pass():
    audio = np.arange(6.0, dtype=np.float32).reshape(2, 3)[:, ::-1]
    audio.flags.writeable = False
    samples, form = to_float(audio)
    np.testing.assert_array_equal(form.restore(samples), audio)


@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000)])
def test_rates(rate):
    assert check_rate(rate) == 16000
    assert type(check_rate(rate)) is int


@pytest.mark.parametrize("rate", [0, -1, 999, 44100.5, 10**6, "16000", None, True, np.nan])
def test_rates_that_are_refused(rate):
    with pytest.raises(AudioError, match="sample_rate"):
        check_rate(rate)
