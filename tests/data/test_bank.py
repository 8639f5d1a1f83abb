"""The bank: the samples that the cache holds, at the right places, from the memory map and from the device alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.data.bank import DeviceBank, MappedBank, Pieces, open_bank
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip

from .conftest import RATE, NoReadBack, tone, write

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, seconds, channels, level in (("a", 0.1, 1, 0.1), ("b", 0.05, 2, 0.1), ("loud", 0.02, 2, 3.0)):
        write(folder / f"{name}.wav", tone(ord(name[0]), seconds, channels=channels, level=level))
    return folder


@pytest.fixture(params=[1, 2], ids=["mono", "stereo"])
def cache(request, folder):
    clips = [Clip(folder / f"{name}.wav", "speech") for name in ("a", "b", "loud")]
    return ClipCache(clips, folder / "cache", RATE, request.param)


@pytest.fixture(params=[MappedBank, DeviceBank])
def bank(request, cache):
    return request.param(cache, CPU)


def read(cache, clip):
    return np.atleast_2d(cache.read(clip))


def test_pieces_follow_each_other_with_silence_between(bank, cache):
    row = Pieces(*map(np.array, ([[0, 1, 2]], [[0, 300, 1000]], [[1500, 0, 100]], [[100, 700, 0]], [[1.0, 0.5, 1.0]])))
    (made,) = bank.read(row, 1200).numpy()
    wanted = np.zeros_like(made)
    wanted[:, :100] = read(cache, 0)[:, 1500:1600]
    wanted[:, 300:1000] = 0.5 * read(cache, 1)[:, :700]
    np.testing.assert_allclose(made, wanted, atol=1e-7)


@pytest.mark.parametrize("first", [0, 7, 319])
def test_a_short_clip_is_repeated(bank, cache, first):
    (made,) = bank.read(Pieces.single(np.array([2]), first=np.array([first]), span=np.array([2000])), 2000).numpy()
    np.testing.assert_allclose(made, np.resize(np.roll(read(cache, 2).T, -first, 0), (2000, len(made))).T, atol=1e-6)


def test_a_mono_clip_fills_both_channels_beside_a_stereo_one(bank, cache):
    clips = np.array([0, 1])
    made = bank.read(Pieces.single(clips, first=np.array([5, 5]), span=np.array([50, 60])), 60)
    assert made.shape == (2, 1 if cache.mono else 2, 60)
    for row, span in enumerate((50, 60)):
        np.testing.assert_allclose(
            made[row, :, :span], np.broadcast_to(read(cache, row)[:, 5 : 5 + span], made[row, :, :span].shape)
        )
    assert not made[0, :, 50:].any()
    alone = bank.read(Pieces.single(clips[:1], first=np.array([5]), span=np.array([50])), 60)
    assert alone.shape == (1, 1, 60), "no more channels than needed"


def test_rows_can_be_left_out(bank):
    pieces = Pieces.single(np.array([0, 0]), first=np.array([0, 0]), span=np.array([9, 9]), gain=np.array([1.0, 2.0]))
    made = bank.read(pieces.only(np.array([False, True])), 9)
    assert not made[0].any()
    assert made[1].any()


def test_both_banks_agree_to_the_last_bit(cache):
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 3, (20, 4))
    spans = rng.integers(0, [101, 90, 80, 11], (20, 4))
    row = Pieces(
        clip, np.array([[0, 100, 200, 290]] * 20), rng.integers(0, 300, (20, 4)), spans, rng.uniform(0, 2, (20, 4))
    )
    mapped, held = (kind(cache, CPU).read(row, 300) for kind in (MappedBank, DeviceBank))
    assert torch.equal(mapped, held)


def test_nothing_is_read_back(bank):
    pieces = Pieces.single(np.array([0, 1]), first=np.array([5, 5]), span=np.array([50, 60]))
    with NoReadBack():
        bank.read(pieces, 60)


def test_the_bank_is_chosen_by_size(cache):
    size = cache.samples.nbytes / 1e9
    assert isinstance(open_bank(cache, CPU), MappedBank), "the host needs no copy"
    assert isinstance(open_bank(cache, CPU, 1.01 * size), DeviceBank)
    assert isinstance(open_bank(cache, CPU, 0.99 * size), MappedBank)
    assert isinstance(open_bank(cache, torch.device("meta")), MappedBank)


@pytest.mark.parametrize(("free", "kind"), [(5.0, DeviceBank), (3.0, MappedBank)])
def test_a_quarter_of_the_memory_of_a_gpu_may_be_used(cache, monkeypatch, free, kind):
    class Gpu:
        """Stands for a device that this machine does not have."""

        type = "cuda"

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * cache.samples.nbytes, 0))
    monkeypatch.setattr(DeviceBank, "__init__", lambda self, cache, device: None)
    assert isinstance(open_bank(cache, Gpu()), kind)  # type: ignore[arg-type]
