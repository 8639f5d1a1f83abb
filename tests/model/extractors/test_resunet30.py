"""ResUNet30: the published grids and widths, what its mask can do, silence, the query."""

from __future__ import annotations

import pytest
import torch

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.extractors import EXTRACTORS, ResUNet30Extractor
from exdiff.model.nn.cost import parameters


def small(**options) -> ResUNet30Extractor:
    torch.manual_seed(0)
    options = {"channels": (4, 6, 8), "n_fft": 64, "hop_length": 16, "sample_rate": 8000, "rate": 8000} | options
    return ResUNet30Extractor(**options).eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_published_size():
    with torch.device("meta"):
        extractor = ResUNet30Extractor(32000)
    assert extractor.latent_channels == (32, 64, 128, 256, 384, 384, 384)

    def block(a: int, b: int) -> int:
        return 9 * a * b + 9 * b * b + (a * b + b if a != b else 0) + 2 * a + 2 * b

    widths = [32, 64, 128, 256, 384, 384]
    encoder = sum(block(a, b) for a, b in zip([32, *widths[:-1]], widths, strict=True)) + block(384, 384)
    ups = zip([64, 128, 256, 384, 384, 384], widths, [4, 4, 4, 4, 4, 2], strict=True)
    decoder = sum(2 * a + a * b * taps + block(2 * b, b) for a, b, taps in ups)
    assert parameters(extractor) == encoder + decoder + 2 * 1025 + (32 + 32) + (3 * 32 + 3)


def test_grids_of_the_maps():
    extractor = small(channels=(2, 2, 2, 2, 2, 2), n_fft=2048, hop_length=320, rate=32000, sample_rate=32000)
    latents = extractor(noise(1, 1, 320 * 63)).latents
    assert [tuple(m.shape[2:]) for m in latents] == [
        (1024, 64), (512, 32), (256, 16), (128, 8), (64, 4), (32, 2), (16, 2)
    ]  # fmt: skip


def test_the_latents_may_be_chosen():
    everything = small()(noise(1, 1, 500)).latents
    extractor = small(latents=[3, 0])
    assert extractor.latent_channels == (8, 4)
    bottleneck, finest = extractor(noise(1, 1, 500)).latents
    torch.testing.assert_close(bottleneck, everything[3])
    torch.testing.assert_close(finest, everything[0])
    for wrong in ([4], []):
        with pytest.raises(ConfigError, match="latents must be numbers from 0"):
            build(EXTRACTORS, {"type": "resunet30", "channels": [4, 6, 8], "latents": wrong})


def test_an_open_mask_gives_the_mixture_and_a_closed_one_silence():
    extractor, mixture = small(), noise(1, 1, 1000)
    torch.nn.init.zeros_(extractor.outlet.weight)
    for bias, gain in (
        ([30.0, 1.0, 0.0], 1.0),
        ([0.0, 1.0, 0.0], 0.5),
        ([-30.0, 1.0, 0.0], 0.0),
        ([30.0, -2, 0], -1.0),
    ):
        with torch.no_grad():
            extractor.outlet.bias.copy_(torch.tensor(bias))
        spectrum = gain * extractor.transform(mixture)
        spectrum[:, :, -1] = 0  # the Nyquist bin has no mask
        expected = extractor.transform.inverse(spectrum, 1000)
        torch.testing.assert_close(extractor(mixture).estimate, expected, rtol=1e-3, atol=1e-4)


def test_silence_stays_silence_while_it_trains():
    extractor = small().train()
    extraction = extractor(torch.zeros(2, 1, 600))
    assert not extraction.estimate.any()
    extraction.estimate.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in extractor.parameters())


def test_the_query_decides():
    extractor, mixture = small(query=3), noise(1, 1, 500)
    before = extractor(mixture).estimate
    with torch.no_grad():
        extractor.query.add_(1.0)
    assert not torch.allclose(extractor(mixture).estimate, before, atol=1e-4)
    assert small().query is None


def test_a_fraction_of_a_frame_changes_no_length():
    for length in (1, 15, 17, 333):
        assert small(sample_rate=6000)(noise(1, 2, length)).estimate.shape == (1, 2, length)
