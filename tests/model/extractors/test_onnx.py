"""ONNX extractors: latents equal the values inside of the graph, states step through time, mistakes are named."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from exdiff.checkpoints.checkpoint import build_model, load_model, save_model
from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.extractors import EXTRACTORS, OnnxExtractor
from exdiff.model.extractors.frontends import DeepFilterFrontend

WEIGHT = np.random.default_rng(0).normal(size=(3, 1, 8)).astype(np.float32)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def write(path, nodes, inputs, outputs, **constants) -> str:
    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(
        nodes, "tiny", [value(*i) for i in inputs.items()], [value(*o) for o in outputs.items()], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def waves(tmp_path) -> str:
    """[1, 1, T]: strided convolution, ReLU; the output is half of the input, eight samples late."""
    nodes = [
        helper.make_node("Conv", ["wave", "weight"], ["hidden"], strides=[4], pads=[4, 4]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Transpose", ["active"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["wave", "half"], ["quiet"]),
        helper.make_node("Concat", ["silence", "quiet"], ["long"], axis=2),
        helper.make_node("Slice", ["long", "start", "end", "axis"], ["late"]),
    ]
    constants = {
        "weight": WEIGHT, "half": np.float32(0.5), "silence": np.zeros((1, 1, 8), np.float32),
        "start": np.array([0]), "end": np.array([-8]), "axis": np.array([2]),
    }  # fmt: skip
    return write(tmp_path / "waves.onnx", nodes, {"wave": [1, 1, "T"]}, {"late": [1, 1, "T"]}, **constants)


@pytest.fixture
def frames(tmp_path) -> str:
    """A streaming model, one frame [1, F, 1, 2] at a time: a sum of all frames so far, and the frame tripled."""
    nodes = [
        helper.make_node("Add", ["memory", "mix"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["level"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["mix", "three"], ["enhanced"]),
    ]
    shape = [1, 17, 1, 2]
    return write(
        tmp_path / "frames.onnx", nodes, {"mix": shape, "memory": shape}, {"enhanced": shape, "sum": shape},
        three=np.float32(3),
    )  # fmt: skip


def make(model: str, **options) -> OnnxExtractor:
    section = {"type": "onnx", "file": model, "latents": ["hidden"], "input": {"wave": "bbn"}, "sample_rate": 800}
    return build(EXTRACTORS, section | options)


def test_latents_equal_the_internal_values(waves):
    extractor, wave = make(waves, latents={"hidden": "", "turned": "bnd"}), noise(2, 1, 100)
    assert extractor.latent_channels == (3, 3)
    hidden = torch.nn.functional.conv1d(wave, torch.from_numpy(WEIGHT), stride=4, padding=4)
    found = extractor(wave).latents
    torch.testing.assert_close(found[0], hidden[:, :, None])
    torch.testing.assert_close(found[1], hidden.relu()[:, :, None])
    torch.testing.assert_close(extractor(wave).estimate, wave)  # no output is named


def test_the_estimate_and_its_delay(waves):
    wave = noise(2, 1, 100)
    late = make(waves, output={"late": "bbn"})(wave).estimate
    torch.testing.assert_close(late[..., 8:], 0.5 * wave[..., :-8])
    torch.testing.assert_close(make(waves, output={"late": "bbn"}, delay=8)(wave).estimate, 0.5 * wave)


def test_a_streaming_model_steps_through_time(frames):
    front = {"type": "spectrum", "n_fft": 32, "hop_length": 16}
    extractor = make(
        frames, latents={"level": "bdfn"}, input={"mix": "bfnr"}, output={"enhanced": "bfnr"}, frontend=front,
        states={"memory": "sum"}, step=1,
    )  # fmt: skip
    assert (extractor.latent_channels, extractor.alignment) == ((2,), 16)
    wave = noise(2, 1, 100)
    extraction = extractor(wave)
    torch.testing.assert_close(extraction.estimate, 3 * wave, rtol=1e-4, atol=1e-4)
    spectrum = torch.stack([extractor.frontend.features(row)[0] for row in wave[:, 0]])
    torch.testing.assert_close(extraction.latents[0], spectrum.cumsum(-1), rtol=1e-4, atol=1e-4)


def test_several_inputs_and_latents_that_come_late(tmp_path):
    """As DeepFilterNet's encoder: energies and lowest bins in; a map two frames late out."""
    nodes = [
        helper.make_node("Slice", ["erb", "start", "end", "axis"], ["front"]),
        helper.make_node("Pad", ["front", "pads"], ["late"]),
        helper.make_node("Mul", ["spec", "two"], ["double"]),
    ]
    constants = {
        "start": np.array([0]), "end": np.array([-2]), "axis": np.array([2]), "two": np.float32(2),
        "pads": np.array([0, 0, 2, 0, 0, 0, 0, 0]),
    }  # fmt: skip
    file = write(
        tmp_path / "encoder.onnx", nodes, {"erb": [1, 1, "S", 32], "spec": [1, 2, "S", 96]},
        {"late": [1, 1, "S", 32], "double": [1, 2, "S", 96]}, **constants,
    )  # fmt: skip
    extractor = make(
        file, latents={"late": "bdnf", "double": "bdnf"}, input={"erb": "bbnf", "spec": "brnf"},
        frontend={"type": "deepfilter"}, delay=960, sample_rate=48000,
    )  # fmt: skip
    wave = 0.1 * noise(1, 1, 9600)
    late, double = extractor(wave).latents
    energies, spectrum = extractor.frontend.features(wave[0, 0])
    torch.testing.assert_close(late[0, 0, :, :18], energies[:, :18])
    assert double.shape == (1, 2, 96, 21)
    torch.testing.assert_close(double[0, :, :, :16], 2 * spectrum[:, :, 2:18])


def test_deepfilter_features_are_relative_to_their_running_means():
    frontend, wave = DeepFilterFrontend(), noise(48000 * 6)
    for gain in (1e-2, 1.0):
        energies, spectrum = frontend.features(gain * wave)
        assert (energies.shape, spectrum.shape) == ((32, 601), (2, 96, 601))
        assert energies[:, -100:].mean().abs() < 0.02  # 0.8 dB of 40: the level itself is forgotten
        # |x|^2 / mean |x| of complex noise with deviation d is 2 d / sqrt(pi).
        deviation = gain * frontend._window.square().sum().sqrt() / 960
        power = spectrum.square().sum(0)[4:, -100:].mean()
        torch.testing.assert_close(power, 2 * deviation / torch.pi**0.5, rtol=0.05, atol=0)


def test_steps_of_samples_need_not_fit_the_length(waves):
    steps, wave = make(waves, step=32), noise(1, 1, 100)
    latent = steps(wave).latents[0]
    padded = torch.nn.functional.pad(wave, (0, 28)).reshape(4, 1, 32)
    parts = torch.nn.functional.conv1d(padded, torch.from_numpy(WEIGHT), stride=4, padding=4)
    torch.testing.assert_close(latent[0, :, 0], parts.permute(1, 0, 2).flatten(1))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 63), (1, 2, 500)])
def test_rates_lengths_and_silence(waves, shape):
    extractor = make(waves, rate=1600)
    extraction = extractor(torch.zeros(shape))
    assert extraction.estimate.shape == shape
    assert all(m.shape[0] == shape[0] * shape[1] and m.isfinite().all() for m in extraction.latents)


def test_it_is_frozen_and_can_be_copied(waves):
    extractor, wave = make(waves), noise(1, 1, 100)
    assert not list(extractor.parameters())
    assert not extractor.state_dict()
    assert not extractor(wave.requires_grad_()).latents[0].requires_grad
    assert torch.equal(copy.deepcopy(extractor)(wave).latents[0], extractor(wave).latents[0])


def test_the_file_is_left_as_it_is(waves, tmp_path):
    before = (tmp_path / "waves.onnx").read_bytes()
    make(waves)
    assert (tmp_path / "waves.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "nowhere.onnx"}, "does not exist"),
        ({"latents": ["hiden"]}, r"no tensor 'hiden'; did you mean 'hidden'\?"),
        ({"output": {"lat": "bbn"}}, "no tensor 'lat'"),
        ({"input": {"wav": "bbn"}}, "no input 'wav'; it has wave"),
        ({"input": {"wave": "bn"}}, "does not run"),
        ({"input": {"wave": "bfn"}}, "axes must be an order of n"),
        ({"input": {"wave": "bbn", "other": "n"}}, "table of 1 names"),
        ({"latents": {"hidden": "bdfn"}}, "the axes do not fit the ONNX model"),
        ({"output": {"late": "bn"}}, "does not fit the axes 'bn'"),
        ({"frontend": {"type": "spectrm"}}, r"unknown type 'spectrm'; did you mean 'spectrum'\?"),
        ({"states": {"memory": "active"}}, "no input 'memory'"),
    ],
)
def test_what_is_wrong_is_said(waves, options, message):
    with pytest.raises(ConfigError, match=message):
        make(waves, **options)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 99)
    with pytest.raises(ConfigError, match="not a readable ONNX model"):
        make(str(tmp_path / "broken.onnx"))


def test_in_a_model_its_latents_reach_the_prediction_and_the_checkpoint(waves, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS", str(tmp_path))
    section = {"type": "onnx", "file": "${MODELS}/waves.onnx", "latents": ["hidden"], "input": {"wave": "bbn"}}
    recipe = Recipe.from_dict({**Recipe.load("debug").to_dict(), "extractor": section})
    torch.manual_seed(0)
    model = build_model(recipe)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, recipe, tmp_path / "saved")
    loaded, _ = load_model(tmp_path / "saved")
    condition = loaded.condition(noise(1, 1, 1000))
    assert condition.features[0].any()
    assert condition.features[0].shape[1] == 8
