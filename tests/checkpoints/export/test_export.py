"""The file runs without this package, on any length, and is there only if it agrees with PyTorch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import exdiff
from exdiff.checkpoints.checkpoint import load_model
from exdiff.checkpoints.export import export
from exdiff.checkpoints.export import write as writing
from exdiff.checkpoints.export.graphs import Whole
from exdiff.cli import app
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.model.extractors import Extraction, Extractor


def run(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_runs_on_any_length(checkpoint, exported):
    assert exported.deviation_db < -90
    assert (exported.inputs, exported.outputs) == (("noisy",), ("enhanced",))
    graph = Whole(*load_model(checkpoint / "model"), 1)
    session = onnxruntime.InferenceSession(exported.path)
    for length in (1, 254, 8160, 8161, 50000):
        noisy = torch.randn(1, length, generator=torch.Generator().manual_seed(length))
        (found,) = session.run(None, {"noisy": noisy.numpy()})
        with torch.no_grad():
            (wanted,) = graph(noisy)
        assert found.shape == (1, length)
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4 * float(wanted.abs().max()))


def test_the_file_says_what_it_is_and_how_to_run_it(exported):
    session = onnxruntime.InferenceSession(exported.path)
    about = session.get_modelmeta().custom_metadata_map
    assert about["model"] == "speech"
    assert about["licence"] == "Apache-2.0"
    assert about["exdiff"] == exdiff.__version__
    assert [int(about[key]) for key in ("sample_rate", "channels", "steps", "draws")] == [16000, 1, 1, 0]
    assert json.loads(about["path"]) == {"type": "brownian", "sigma": 0.15}
    (noisy,), (enhanced,) = session.get_inputs(), session.get_outputs()
    assert noisy.shape == [1, "samples"]
    assert enhanced.shape == [1, "samples"]
    onnx.checker.check_model(str(exported.path), full_check=True)


def test_no_constant_is_larger_than_the_weights(exported):
    """The matrices of Fourier transforms are computed from their size."""
    graph = onnx.load(exported.path).graph
    assert max(len(node.SerializeToString()) for node in graph.node) < 5000


def test_weights_that_float16_holds_are_stored_in_it(checkpoint, tmp_path):
    model, recipe = load_model(checkpoint / "model")
    sizes = []
    for dtype in (torch.float32, torch.float16):
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype).float()
        done = export(model, recipe, tmp_path / f"{dtype}.onnx", steps=0)[0]
        assert done.deviation_db < -90
        types = [tensor.data_type for tensor in onnx.load(done.path).graph.initializer]
        assert (onnx.TensorProto.FLOAT16 in types) == (dtype == torch.float16)
        sizes.append(done.path.stat().st_size)
    assert sizes[1] < 0.97 * sizes[0]


def test_the_model_stays_as_it_is(small_speech, tmp_path):
    network = "{type: resunet30, channels: [4, 6], n_fft: 256, hop_length: 80}"  # with batch norms
    model, recipe = small_speech(f"extractor={network}", "backbone=", "fusion=", "path=")
    model.requires_grad_(True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert export(model, recipe, tmp_path / "model.onnx", steps=0)[0].deviation_db < -60
    assert not any(part.training for part in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_model_with_noise(small_model, tmp_path):
    model, recipe = small_model("debug", "sampler.steps=1")
    done = export(model, recipe, tmp_path / "debug.onnx", steps=1)[0]
    assert done.inputs == ("noisy", "noise")
    assert done.deviation_db < -60
    noise = onnxruntime.InferenceSession(done.path).get_inputs()[1]
    assert noise.shape == [1, 1, 64, "frames", 2]


def test_a_small_ncsnpp_in_parts(small_model, tmp_path):
    sizes = ["transform.n_fft=126", "transform.hop_length=63", "model.frames_multiple=16"]
    sizes += ["backbone={type: ncsnpp, nf: 8, ch_mult: [1, 2], num_res_blocks: 1}"]
    model, recipe = small_model("sgmse-bridge", *sizes)
    done = export(model, recipe, tmp_path / "sgmse.onnx", steps=1, parts=True)
    assert [file.path.name for file in done] == ["sgmse.extractor.onnx", "sgmse.score.onnx", "sgmse.waveform.onnx"]
    assert max(file.deviation_db for file in done) < -60
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(file.path.name for file in done)


@pytest.mark.parametrize("sequence", ["attention", "scan"])
def test_other_sequence_models(small_speech, sequence, tmp_path):
    model, recipe = small_speech(f"extractor.sequence={sequence}", "backbone=", "fusion=", "path=")
    assert export(model, recipe, tmp_path / "model.onnx", steps=0)[0].deviation_db < -90


class Odd(Extractor):
    """What a user's own extractor may do, given a chance."""

    sample_rate, latent_channels = 16000, ()

    def __init__(self, function):
        super().__init__()
        self.scale, self.function = nn.Parameter(torch.ones(1)), function

    def forward(self, mixture):
        return Extraction(self.scale * self.function(mixture), ())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * float(x.abs().max()), r"would deviate by -\d"),  # a constant, to a trace
        (lambda x: x * torch.hann_window(int(x.shape[-1])), "does not run"),
        (lambda x: torch.linalg.cholesky(x[..., :1] ** 2 + 1) * x, "no ONNX graph"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(small_speech, tmp_path, capfd, function, message):
    model, recipe = small_speech("backbone=", "fusion=", "path=")
    model.extractor = Odd(function)
    with pytest.raises(CheckpointError, match=message) as caught:
        export(model, recipe, tmp_path / "odd.onnx", steps=0)
    assert "cannot be exported" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_leaves_nothing(checkpoint, exported, tmp_path, monkeypatch):
    model, recipe = load_model(checkpoint / "model")

    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "traced", lambda graph, details: exported.path.read_bytes())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left"):
        export(model, recipe, tmp_path / "speech.onnx", steps=1)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(checkpoint, tmp_path, monkeypatch):
    model, recipe = load_model(checkpoint / "model")
    for package in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch, pytest.raises(ConfigError, match=r"pip install 'exdiff\[export\]'"):
            patch.setitem(sys.modules, package, None)
            patch.setattr(writing, "traced", writing.traced if package == "onnx" else lambda *_: b"")
            export(model, recipe, tmp_path / "speech.onnx", steps=0)


def test_the_command(checkpoint, tmp_path):
    out = tmp_path / "new" / "speech.onnx"
    done = run(checkpoint / "model", out, "--steps", "0")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert f"wrote {out}: noisy -> enhanced" in done.stderr
    about = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map
    assert [int(about[key]) for key in ("window_samples", "hop_samples", "steps")] == [192000, 18 * 32 * 255, 0]
    again = run(checkpoint / "model", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vocals-compact", "x.onnx", "--parts"), "leave --parts out"),
        (("vocals-compact", "x.onnx", "--steps", "1"), "steps=0"),
        (("speech", "speech.bin"), "must end in .onnx"),
        (("speach", "x.onnx"), "speech"),
    ],
)
def test_wrong_usage(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
