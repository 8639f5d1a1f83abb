"""What every extractor promises, over the table: lengths, latents, gradients, independence of the batch, silence."""

from __future__ import annotations

import sys
import types

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load, save

from exdiff.model.extractors import EXTRACTORS, Extractor

SMALL = {
    "compact": {"channels": (8, 12), "blocks": 1, "middle": 1, "hidden": 4, "n_fft": 126, "hop_length": 63},
    "causal": {"channels": (8, 12), "middle": 1, "hidden": 4, "hop_length": 63},
    "resunet30": {"channels": (3, 4), "n_fft": 64, "hop_length": 16, "rate": 16000, "query": 3},
    "spleeter": {"channels": (4, 6), "n_fft": 64, "hop_length": 16, "bins": 16, "frames": 32, "overlap": 8},
    "module": {"factory": "exdiff_test_nets:Tiny", "latents": ["wide", "last"], "options": {"width": 3}},
}
# What an ONNX file holds is trained already: test_onnx.py has its promises.
TRAINABLE = [name for name in EXTRACTORS if name != "onnx"]


@pytest.fixture(autouse=True)
def nets(monkeypatch):
    """A package of somebody else's."""

    class Tiny(torch.nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.wide = torch.nn.Conv1d(1, width, 3, padding=1)
            self.last = torch.nn.Conv1d(width, 1, 1)
            torch.nn.init.zeros_(self.last.weight)
            torch.nn.init.zeros_(self.last.bias)

        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            return wave + self.last(torch.tanh(self.wide(wave)))

    module = types.ModuleType("exdiff_test_nets")
    module.Tiny = Tiny
    monkeypatch.setitem(sys.modules, "exdiff_test_nets", module)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=TRAINABLE)
def extractor(request) -> Extractor:
    return trained(request.param)


def trained(name: str, seed: int = 0) -> Extractor:
    """With random weights: outputs that start at zero would hide everything behind them."""
    torch.manual_seed(seed)
    made = EXTRACTORS[name](sample_rate=8000, **SMALL[name])
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()  # batch norm lets items of a batch see each other while it trains


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 62), (1, 1, 63), (2, 1, 1001), (1, 2, 500)])
def test_the_estimate_has_the_shape_of_the_mixture(extractor, shape):
    extraction = extractor(noise(*shape))
    assert extraction.estimate.shape == shape
    assert extraction.estimate.dtype == torch.float32


def test_the_declared_latents_are_true(extractor):
    assert extractor.sample_rate == 8000
    latents = extractor(noise(3, 1, 700)).latents
    assert latents
    assert tuple(m.shape[1] for m in latents) == extractor.latent_channels
    assert all(m.shape[0] == 3 and m.ndim == 4 for m in latents)


def test_silence_in_finite_out(extractor):
    extraction = extractor(torch.zeros(1, 1, 600))
    assert extraction.estimate.isfinite().all()
    assert all(m.isfinite().all() for m in extraction.latents)
    extraction.estimate.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in extractor.parameters())


def test_gradients_reach_all_weights(extractor):
    extraction = extractor(noise(2, 1, 600))
    (extraction.estimate - noise(2, 1, 600, seed=1)).square().mean().backward()
    for name, parameter in extractor.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert parameter.grad.isfinite().all(), name


def test_the_batch_does_not_matter(extractor):
    mixture = noise(3, 1, 600)
    whole = extractor(mixture)
    turned = extractor(mixture.flip(0))
    torch.testing.assert_close(turned.estimate.flip(0), whole.estimate, rtol=1e-3, atol=1e-4)
    for i in range(3):
        alone = extractor(mixture[i : i + 1])
        torch.testing.assert_close(alone.estimate, whole.estimate[i : i + 1], rtol=1e-3, atol=1e-4)
        for a, b in zip(alone.latents, whole.latents, strict=True):
            torch.testing.assert_close(a, b[i : i + 1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TRAINABLE)
def test_saved_and_loaded_is_the_same(name):
    first, second = trained(name), trained(name, seed=1)
    mixture = noise(1, 1, 600)
    assert not torch.allclose(first(mixture).estimate, second(mixture).estimate)
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(first(mixture).estimate, second(mixture).estimate)


@pytest.mark.parametrize("name", ["compact", "causal", "module"])  # those that claim it
def test_fresh_it_gives_the_mixture_back(name):
    torch.manual_seed(0)
    mixture = noise(1, 1, 1000)
    estimate = EXTRACTORS[name](sample_rate=8000, **SMALL[name])(mixture).estimate
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=1e-4)


def halving(path) -> str:
    """An ONNX file whose output is half of its input; its latent is the absolute value."""
    nodes = [helper.make_node("Add", ["quiet", "quiet"], ["wave2"]), helper.make_node("Abs", ["wave"], ["size"])]
    nodes.insert(0, helper.make_node("Mul", ["wave", "quarter"], ["quiet"]))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "T"]) for name in ("wave", "wave2")]
    quarter = helper.make_tensor("quarter", TensorProto.FLOAT, [], [0.25])
    graph = helper.make_graph(nodes, "halving", value[:1], value[1:], [quarter])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.mark.parametrize("rate", [8000, 11025])
@pytest.mark.parametrize("name", EXTRACTORS)
def test_the_estimate_stays_float32_under_autocast(name, rate, tmp_path):
    """The network may run in bfloat16; the waveform around it may not."""
    if name == "onnx":
        options = {"latents": ["size"], "input": {"wave": "bbn"}, "output": {"wave2": "bbn"}, "rate": rate}
        extractor = EXTRACTORS[name](halving(tmp_path / "halving.onnx"), sample_rate=8000, **options)
    else:
        torch.manual_seed(0)
        takes_rate = {"rate": rate} if name in ("resunet30", "module") else {}
        extractor = EXTRACTORS[name](sample_rate=8000, **SMALL[name] | takes_rate)
        for parameter in extractor.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    extractor.eval()
    mixture = noise(2, 1, 2000)
    plain = extractor(mixture).estimate
    with torch.autocast("cpu", torch.bfloat16):
        estimate = extractor(mixture).estimate
    assert estimate.dtype == torch.float32
    error = 10 * torch.log10(plain.square().mean() / (estimate - plain).square().mean())
    assert error > (100 if name == "onnx" else 35)
