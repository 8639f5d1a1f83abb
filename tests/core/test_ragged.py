from __future__ import annotations

import threading

import pytest
import torch

from exdiff.core.ragged import masked, unpadded, valid_lengths


def test_without_ends_nothing_happens():
    x = torch.ones(2, 3, 4)
    assert masked(x) is x
    assert bool((x == 1).all())
    with valid_lengths([[4, 4]]):
        assert masked(x) is x
        assert bool((x == 1).all())
        assert [item.shape for item in unpadded(x)] == [(3, 4)] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_zeros_behind_each_end_on_each_axis(dtype):
    """Also where channels or bands are items of their own, and where something behind an end is not finite."""
    with valid_lengths([[90, 100, 70], [9, 10, 7]]):
        for size, sizes in ((100, (90, 100, 70)), (10, (9, 10, 7))):
            for rows in (3, 6):
                x = torch.full((rows, 2, 5, size), torch.nan, dtype=dtype)
                for row in range(rows):
                    x[row, ..., : sizes[row // (rows // 3)]] = 1
                got = masked(x)
                assert got is x
                assert got.isfinite().all()
                for row in range(rows):
                    assert got[row].sum().real == 10 * sizes[row // (rows // 3)]
            assert [item.shape[-1] for item in unpadded(x[:3])] == list(sizes)
        with pytest.raises(KeyError):  # an axis that nobody has named
            masked(torch.ones(3, 2, 50))
    assert masked(torch.ones(3, 2, 50)).all()


def test_permuted_maps_are_changed_in_place():
    x = torch.ones(2, 4, 3, 6).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).permute(0, 1, 3, 2)
    with valid_lengths([[2, 4]]):
        assert masked(x).data_ptr() == x.data_ptr()
    assert bool((x[0, ..., 2:] == 0).all())
    assert x.sum() == x[0].numel() / 2 + x[1].numel()


def test_the_ends_are_those_of_the_thread():
    found = []
    with valid_lengths([[1, 2]]):
        thread = threading.Thread(target=lambda: found.append(masked(torch.ones(2, 2)).sum().item()))
        thread.start()
        thread.join()
        with valid_lengths([[2, 2]]):
            found.append(masked(torch.ones(2, 2)).sum().item())
        found.append(masked(torch.ones(2, 2)).sum().item())
    assert found == [4, 4, 3]
