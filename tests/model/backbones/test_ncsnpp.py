"""NCSN++: resampling against its definition, the whole against a second implementation that reads published names."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.backbones import BACKBONES, NCSNpp
from exdiff.model.backbones.ncsnpp_blocks import Resample
from exdiff.model.backbones.ncsnpp_names import from_published, published_names


def resampled(x, kernel, up):
    """Zeros between the samples, convolution, every second sample: on plain numpy arrays."""
    taps = np.outer(kernel, kernel) / np.sum(kernel) ** 2
    size = len(kernel)
    if up:
        wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        wide[::2, ::2] = 4 * x
        before, after = size // 2, size // 2 - 1
    else:
        wide, before, after = x, size // 2 - 1, size // 2 - 1
    wide = np.pad(wide, (before, after))
    out = np.zeros((wide.shape[0] - size + 1, wide.shape[1] - size + 1))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (wide[i : i + size, j : j + size] * taps[::-1, ::-1]).sum()
    return out if up else out[::2, ::2]


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("kernel", [(1, 3, 3, 1), (1, 1), (1, 2, 4, 1), (1, 3, 4, 2), (1, 4, 6, 6, 4, 1)])
def test_resampling_is_its_definition(kernel, up):
    x = np.random.default_rng(0).standard_normal((2, 8, 6))
    out = Resample(kernel, up)(torch.tensor(x, dtype=torch.float32)[None])[0]
    expected = np.stack([resampled(channel, kernel, up) for channel in x])
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-5)


def test_resampling_keeps_a_constant_inside():
    for up in (False, True):
        assert torch.allclose(Resample(up=up)(torch.ones(1, 1, 8, 8))[..., 2:-2, 2:-2], torch.tensor(1.0))


@pytest.mark.parametrize("batch", [1, 2])
def test_the_savings_of_inference_change_nothing(batch):
    """Without gradients sums and activations work in place, and for one item the time embedding is a bias."""
    torch.manual_seed(0)
    network = NCSNpp(nf=8, ch_mult=(1, 2), num_res_blocks=1, image_size=32, attn_resolutions=(16,))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, t = torch.randn(2, 4, 17, 9), torch.tensor([0.2, 0.7])
    learning = network(x, t)
    assert learning.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(network(x[:batch], t[:batch]), learning[:batch].detach(), rtol=1e-5, atol=1e-5)


def test_bf16_is_within_40_db():
    torch.manual_seed(0)
    network = NCSNpp(nf=16, ch_mult=(1, 2), num_res_blocks=1, image_size=32)
    x, t = torch.randn(1, 4, 32, 16), torch.tensor([0.5])
    with torch.inference_mode():
        exact = network(x, t)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(x, t)
    assert 20 * torch.log10((rounded.float() - exact).norm() / exact.norm()) < -40


class Flat:
    """The published network as a list of numbered entries, from the description in Song et al. 2021."""

    def __init__(self, weights, mult, blocks, attends, input_skip, output_skip):
        self.w, self.at = weights, -1
        self.mult, self.blocks, self.attends = mult, blocks, attends
        self.input_skip, self.output_skip = input_skip, output_skip

    def next(self):
        self.at += 1

    def get(self, name):
        return self.w[f"all_modules.{self.at}.{name}"]

    def conv(self, x, name="", size=3):
        name = f"{name}." if name else ""
        return functional.conv2d(x, self.get(f"{name}weight"), self.get(f"{name}bias"), padding=size // 2)

    def norm(self, x, name=""):
        name = f"{name}." if name else ""
        groups = min(x.shape[1] // 4, 32)
        return functional.group_norm(x, groups, self.get(f"{name}weight"), self.get(f"{name}bias"), 1e-6)

    def dense(self, x, name=""):
        name = f"{name}." if name else ""
        return functional.linear(x, self.get(f"{name}weight"), self.get(f"{name}bias"))

    def block(self, x, temb, resample=None):
        self.next()
        h = functional.silu(self.norm(x, "GroupNorm_0"))
        if resample is not None:
            h, x = resample(h), resample(x)
        h = self.conv(h, "Conv_0") + self.dense(functional.silu(temb), "Dense_0")[:, :, None, None]
        h = self.conv(functional.silu(self.norm(h, "GroupNorm_1")), "Conv_1")
        if f"all_modules.{self.at}.Conv_2.weight" in self.w:
            x = self.conv(x, "Conv_2", 1)
        return (x + h) / math.sqrt(2)

    def attention(self, x):
        self.next()
        h = self.norm(x, "GroupNorm_0")
        q, k, v = (
            torch.einsum("bcfn,cd->bdfn", h, self.get(f"NIN_{i}.W")) + self.get(f"NIN_{i}.b")[:, None, None]
            for i in range(3)
        )
        score = torch.einsum("bcfn,bcij->bfnij", q, k) / math.sqrt(x.shape[1])
        weight = score.flatten(3).softmax(-1).reshape(score.shape)
        h = torch.einsum("bfnij,bcij->bcfn", weight, v)
        h = torch.einsum("bcfn,cd->bdfn", h, self.get("NIN_3.W")) + self.get("NIN_3.b")[:, None, None]
        return (x + h) / math.sqrt(2)

    def head(self, h):
        self.next()
        h = functional.silu(self.norm(h))
        self.next()
        return self.conv(h)

    def __call__(self, x, t):
        down, up, levels = Resample(), Resample(up=True), len(self.mult)
        self.next()
        angle = torch.log(t)[:, None] * self.get("W") * 2 * math.pi
        self.next()
        temb = self.dense(torch.cat([angle.sin(), angle.cos()], 1))
        self.next()
        temb = self.dense(functional.silu(temb))
        self.next()
        hs, picture = [self.conv(x)], x
        for level in range(levels):
            for _ in range(self.blocks):
                h = self.block(hs[-1], temb)
                hs.append(self.attention(h) if self.attends[level] else h)
            if level < levels - 1:
                h = self.block(hs[-1], temb, down)
                if self.input_skip:
                    picture = down(picture)
                    self.next()
                    h = h + self.conv(picture, "Conv_0", 1)
                hs.append(h)
        h = self.block(self.attention(self.block(hs[-1], temb)), temb)
        painted = None
        for level in reversed(range(levels)):
            for _ in range(self.blocks + 1):
                h = self.block(torch.cat([h, hs.pop()], 1), temb)
            if self.attends[level]:
                h = self.attention(h)
            if self.output_skip:
                painted = self.head(h) if painted is None else up(painted) + self.head(h)
            if level:
                h = self.block(h, temb, up)
        picture = painted if self.output_skip else self.head(h)
        assert len({name.split(".")[1] for name in self.w if name.startswith("all_")}) == self.at + 1
        return picture

    def out(self, picture):
        return functional.conv2d(picture, self.w["output_layer.weight"], self.w["output_layer.bias"])


CASES = {
    "ncsnpp": ("picture", True, True, {"attn_resolutions": (8,)}),
    "ncsnpp_v2": ("nothing", True, True, {"attn_resolutions": (16, 4)}),
    "ncsnpp_48k": ("output", False, False, {}),
    "ncsnpp mixed": (
        "nothing",
        False,
        True,
        {"progressive_input": "none", "divide_by_time": "nothing", "attn_resolutions": ()},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_published_network(name):
    divided, input_skip, output_skip, options = CASES[name]
    options = {"nf": 8, "ch_mult": (1, 2, 1), "num_res_blocks": 2, "image_size": 16, **options}
    torch.manual_seed(0)
    network = BACKBONES[name.split()[0]](in_channels=4, out_channels=2, **options).eval()
    assert isinstance(network, NCSNpp)
    state = network.state_dict()
    for key, tensor in state.items():
        torch.nn.init.normal_(tensor, 1.0 if "norm" in key and key.endswith("weight") else 0.0, 0.2)
    names = published_names(network)
    assert names.keys() == state.keys()
    assert len(set(names.values())) == len(names)
    flipped = {
        n: state[o][:, :, 0, 0].T if n.endswith(".W") and state[o].ndim == 4 else state[o] for o, n in names.items()
    }
    back = from_published(network, flipped)
    assert all(torch.equal(back[key], state[key]) for key in state)
    x, t = torch.randn(2, 4, 16, 8), torch.tensor([0.3, 0.8])
    attends = [16 // 2**i in options.get("attn_resolutions", ()) for i in range(3)]
    flat = Flat(flipped, options["ch_mult"], 2, attends, input_skip, output_skip)
    with torch.no_grad():
        picture = flat(x, t)
        time = t[:, None, None, None]
        expected = flat.out(picture / time if divided == "picture" else picture)
        expected = expected / time if divided == "output" else expected
        torch.testing.assert_close(network(x, t), expected, rtol=1e-4, atol=1e-5)


def test_the_published_size():
    """65.59 M parameters, as Richter et al. 2023 report, and the 48 kHz model's bins halve to whole numbers."""
    with torch.device("meta"):
        count = sum(p.numel() for p in NCSNpp().parameters())
        wide = BACKBONES["ncsnpp_48k"]()
    assert count == pytest.approx(65.59e6, rel=1e-3)
    assert wide.feature_sizes(768, 64)[-1] == (12, 1)


def test_it_starts_near_zero_and_its_frequencies_do_not_learn():
    torch.manual_seed(0)
    network = NCSNpp(nf=8, ch_mult=(1, 2), num_res_blocks=1, divide_by_time="nothing")
    difference = network(torch.randn(2, 4, 8, 8), torch.tensor([0.1, 0.9])) - network.outlet.bias[:, None, None]
    assert difference.abs().max() < 1e-2
    assert "time.frequencies" in network.state_dict()
    assert "time.frequencies" not in dict(network.named_parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"progressive": "residual"}, "unknown progressive 'residual'"),
        ({"progressive_input": "input_skp"}, "did you mean 'input_skip'"),
        ({"divide_by_time": "outptu"}, "did you mean 'output'"),
        ({"fir_kernel": (1, 2, 1)}, "even number of taps"),
        ({"nf": 2}, "needs nf >= 4"),
        ({"ch_mult": ()}, "ch_mult of 1 or more"),
        ({"nfs": 8}, "did you mean 'nf'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        build(BACKBONES, {"type": "ncsnpp", "nf": 8, "ch_mult": (1, 1), **options})
