"""Spleeter's U-Nets: the numbers of the published layers, blocks, masks above the band, grids of the latents."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from exdiff.model.extractors import SpleeterExtractor
from exdiff.model.extractors.spleeter_unet import SpleeterUNet

SMALL = {"channels": (4, 6), "n_fft": 64, "hop_length": 16, "bins": 16, "frames": 32}


def made(seed: int = 0, **options) -> SpleeterExtractor:
    torch.manual_seed(seed)
    extractor = SpleeterExtractor(8000, **{**SMALL, **options})
    for name, value in extractor.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if "running_var" in name else value.normal_(0, 0.3)
    return extractor.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain_unet(net: SpleeterUNet, x: torch.Tensor) -> torch.Tensor:
    """The published layers one by one, "same" padding as TensorFlow defines it."""
    magnitude, skips = x, []
    for i, conv in enumerate(net.down):
        x = functional.conv2d(functional.pad(x, (1, 2, 1, 2)), conv.weight, conv.bias, stride=2)
        skips.append(x)
        if i < len(net.down_norm):
            x = functional.leaky_relu(net.down_norm[i](x), 0.2)
    x = skips.pop()
    for conv, norm in zip(net.up, net.up_norm, strict=True):
        full = functional.conv_transpose2d(x, conv.weight, conv.bias, stride=2)  # 2 n + 3 bins and frames
        x = norm(functional.relu(full[..., 1:-2, 1:-2]))
        x = torch.cat([skips.pop(), x], 1) if skips else x
    x = functional.conv2d(functional.pad(x, (3, 3, 3, 3)), net.mask.weight, net.mask.bias, dilation=2)
    return torch.sigmoid(x) * magnitude


@pytest.mark.parametrize("channels", [(4, 6), (4, 96, 6)], ids=["few channels", "many"])
@torch.no_grad()
def test_the_network_is_the_published_one(channels):
    net = made(channels=channels).vocals
    x = noise(2, 2, 16, 24).abs()
    torch.testing.assert_close(net(x)[0], plain_unet(net, x), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_estimate_is_the_published_one():
    """Blocks end to end from two frames before the signal, the ratio of powers, silence above the band."""
    extractor = made(above="zeros")
    song = noise(1, 2, 1500)
    padded = functional.pad(song[0], (64, 64 + -1500 % 16))
    window = torch.hann_window(64)
    spectrum = torch.fft.rfft(padded.unfold(1, 64, 16) * window).transpose(1, 2)  # [2, bins, frames]
    magnitude = functional.pad(spectrum.abs()[:, :16], (0, -spectrum.shape[2] % 32))
    masks = []
    for block in magnitude.split(32, -1):
        vocals, rest = (plain_unet(n, block[None])[0] ** 2 for n in (extractor.vocals, extractor.accompaniment))
        masks.append((vocals + 5e-11) / (vocals + rest + 1e-10))
    mask = functional.pad(torch.cat(masks, -1)[..., : spectrum.shape[2]], (0, 0, 0, 33 - 16))
    frames = torch.fft.irfft((spectrum * mask).transpose(1, 2), 64) * window
    size = (1, padded.shape[1])
    wave = functional.fold(frames.transpose(1, 2), size, (1, 64), stride=(1, 16))[:, 0, 0, 64:1564] / 1.5
    torch.testing.assert_close(extractor(song).estimate[0], wave, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_mono_is_stereo_with_equal_channels():
    extractor, mono = made(), noise(2, 1, 700)
    both = extractor(mono.expand(-1, 2, -1)).estimate
    torch.testing.assert_close(extractor(mono).estimate, both.mean(1, keepdim=True))
    with pytest.raises(ValueError, match="one or two channels, got 3"):
        extractor(noise(1, 3, 700))


@torch.no_grad()
def test_the_channels_are_heard_together():
    extractor, song = made(), noise(1, 2, 700)
    other = torch.stack([song[0, 0], noise(700, seed=1)])[None]
    assert not torch.allclose(extractor(song).estimate[:, 0], extractor(other).estimate[:, 0], rtol=1e-2)


@pytest.mark.parametrize(("above", "level"), [("zeros", 0.0), ("average", 0.5), ("top", 0.8)])
def test_above_the_band_the_mask_is_extrapolated(above, level):
    mask = torch.cat([torch.full((1, 2, 8, 3), 0.2), torch.full((1, 2, 8, 3), 0.8)], 2)
    extended = made(above=above)._extended(mask)
    assert extended.shape == (1, 2, 33, 3)
    torch.testing.assert_close(extended[:, :, :16], mask)
    torch.testing.assert_close(extended[:, :, 16:], torch.full((1, 2, 17, 3), level))


@torch.no_grad()
def test_the_gain_reaches_the_networks_alone():
    song = noise(1, 2, 700)
    loud, quiet = made(gain=1.0)(10 * song), made(gain=10.0)(song)
    torch.testing.assert_close(loud.estimate, 10 * quiet.estimate, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(made()(song).estimate, quiet.estimate, rtol=1e-2)


@pytest.mark.parametrize("overlap", [0, 8, 16])
@torch.no_grad()
def test_windows_that_begin_with_blocks_hear_the_same(overlap):
    """The inner part of a block does not depend on whether it is a window of its own, up to its truncated edges."""
    extractor = made(overlap=overlap, frames=64)
    assert extractor.alignment == 16 * (64 - overlap)
    song = noise(1, 2, 8 * extractor.alignment)
    whole = extractor(song)
    start = 3 * extractor.alignment
    window = extractor(song[..., start : start + 16 * 59])
    inner = slice(16 * 20, 16 * 40)
    a, b = whole.estimate[..., start + inner.start : start + inner.stop], window.estimate[..., inner]
    other = extractor(song[..., start + 16 * 5 :]).estimate[..., inner.start - 16 * 5 : inner.stop - 16 * 5]
    assert (a - b).norm() < 0.25 * (a - other).norm()
    assert (a - b).norm() < 0.02 * a.norm()


@torch.no_grad()
def test_latents_lie_on_the_grid_of_the_signal():
    """A burst is heard where it sounds, in time and in frequency, whatever the level and the block."""
    extractor = made(overlap=8)
    length = 16 * 100
    burst = torch.zeros(1, 2, length)
    burst[..., 16 * 60 : 16 * 66] = torch.sin(torch.arange(16 * 6) * 2 * torch.pi * 5 / 64)  # bin 5 of 32
    for stride, with_burst, without in zip((2, 4), extractor(burst).latents, extractor(0 * burst).latents, strict=True):
        change = (with_burst - without).abs().sum((0, 1))
        assert change.shape == (32 // stride, -(-(101 + 2 % stride) // stride))
        bins, frames = (change > 0.2 * change.max()).nonzero().float().mean(0)
        assert abs(float(frames) * stride - 63) < 8
        assert not change[16 // stride :].any(), "the network gets no bins above its band"
        assert float(bins) < 16 / stride


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bins": 18}, "multiples of 4"),
        ({"frames": 30}, "multiples of 4"),
        ({"bins": 64}, "at most n_fft / 2"),
        ({"overlap": 4}, "multiple of 8"),
        ({"overlap": 24}, "at most half of frames"),
        ({"above": "averge"}, "did you mean 'average'"),
    ],
)
def test_sizes_that_cannot_be(options, match):
    with pytest.raises(ValueError, match=match):
        SpleeterExtractor(8000, **{**SMALL, **options})
