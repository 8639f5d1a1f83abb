"""The compact networks' parts: folding is a permutation, fresh blocks are the identity, shapes are as said."""

from __future__ import annotations

import pytest
import torch

from exdiff.model.nn.layers import (
    ChannelNorm,
    DualPath,
    ResidualBlock,
    UNet,
    crossfaded,
    fold_frequency,
    frequency_code,
    overlapping,
    unfold_frequency,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_unfold_undoes_fold(factor):
    x = noise(2, 3, 8, 5)
    folded = fold_frequency(x, factor)
    assert folded.shape == (2, 3 * factor, 8 // factor, 5)
    assert torch.equal(unfold_frequency(folded, factor), x)


def test_fold_keeps_neighbouring_bins_together():
    x = torch.arange(8.0).reshape(1, 1, 8, 1)
    assert fold_frequency(x, 4)[0, :, 0, 0].tolist() == [0, 1, 2, 3]
    assert fold_frequency(x, 4)[0, :, 1, 0].tolist() == [4, 5, 6, 7]


def test_frequency_code_differs_for_every_band():
    code = frequency_code(16, torch.zeros(1, dtype=torch.float64))
    assert code.shape == (1, 6, 16, 1)
    assert code.dtype == torch.float64
    distance = torch.cdist(code[0, :, :, 0].T, code[0, :, :, 0].T) + torch.eye(16)
    assert distance.min() > 0.1


def test_channel_norm_sees_one_position_at_a_time():
    norm, x = ChannelNorm(6), noise(2, 6, 4, 5)
    y = norm(x)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 4, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(1, unbiased=False), torch.ones(2, 4, 5), rtol=0, atol=1e-3)
    torch.testing.assert_close(norm(x[..., 2:3]), y[..., 2:3])


@pytest.mark.parametrize("block", [ResidualBlock(4), ResidualBlock(4, dilation=4), DualPath(4, 3)])
def test_fresh_blocks_are_the_identity(block):
    x = noise(2, 4, 6, 9)
    assert torch.equal(block(x), x)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    assert block(x).shape == x.shape
    assert not torch.allclose(block(x), x)


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 8, 17])
def test_blocks_crossfade_back_to_the_rows(frames):
    rows = noise(2, frames, 3)
    blocks = overlapping(rows, 8)
    assert blocks.shape[2:] == (8, 3)
    torch.testing.assert_close(crossfaded(blocks, frames), rows)


def loud_dual_path(span: int) -> DualPath:
    block = DualPath(4, 3, span)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=1.0, generator=torch.Generator().manual_seed(1))
    return block


def test_the_receptive_field_of_a_frame_ends_at_the_span():
    block, x = loud_dual_path(span=8), noise(1, 4, 6, 60)
    other = x.clone()
    other[..., 30:] = x[..., :30]
    before, after = block(x), block(other)
    torch.testing.assert_close(before[..., :24], after[..., :24])
    assert not torch.allclose(before[..., 24:30], after[..., 24:30], atol=1e-4)  # it does reach across the seam


def test_a_later_start_on_the_grid_changes_nothing_beyond_the_span():
    block, x = loud_dual_path(span=8), noise(1, 4, 6, 60)
    torch.testing.assert_close(block(x[..., 12:])[..., 8:], block(x)[..., 20:])


def test_the_embedding_reaches_a_residual_block():
    block, x = ResidualBlock(4, embedding_channels=3), noise(2, 4, 6, 5)
    torch.nn.init.normal_(block.conv2.weight)
    one, other = block(x, torch.ones(2, 3)), block(x, -torch.ones(2, 3))
    assert not torch.allclose(one, other)
    mixed = block(x, torch.stack([torch.ones(3), -torch.ones(3)]))
    torch.testing.assert_close(mixed, torch.stack([one[0], other[1]]))


@pytest.mark.parametrize("channels", [(4,), (4, 6), (4, 6, 8)])
@pytest.mark.parametrize("frames", [1, 7])
def test_unet_gives_one_map_a_level(channels, frames):
    net = UNet(channels, blocks=2, middle=1, hidden=3, embedding_channels=5)
    assert net.stride == 2 ** (len(channels) - 1)
    x = noise(2, 4, 2 * net.stride, frames)
    maps = net(x, torch.ones(2, 5))
    assert [tuple(m.shape) for m in maps] == [(2, c, 2 * net.stride // 2**i, frames) for i, c in enumerate(channels)]


def test_unet_takes_a_condition_at_every_level():
    net, x = UNet((4, 6), blocks=1, middle=1, hidden=3), noise(1, 4, 4, 5)
    plain = net(x)[0]
    nothing = [torch.zeros(1, 4, 4, 5), torch.zeros(1, 6, 2, 5)]
    torch.testing.assert_close(net(x, None, nothing)[0], plain)
    for level in range(2):
        condition = [m + float(i == level) * noise(*m.shape) for i, m in enumerate(nothing)]
        assert not torch.allclose(net(x, None, condition)[0], plain, atol=1e-3)
