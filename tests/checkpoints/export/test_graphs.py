"""The graphs do what the model does, in real numbers as in complex ones, whatever its parts are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.checkpoints.export.graphs import Evaluation, Extraction, Waveform, Whole
from exdiff.core.errors import ConfigError
from exdiff.inference.loading import from_recipe
from exdiff.model.backbones import BACKBONES
from exdiff.model.diffusion import PATHS
from exdiff.model.fusion import FUSIONS
from exdiff.model.nn.sequences import SEQUENCES
from exdiff.model.samplers import SAMPLERS


def outputs(graph, inputs, real):
    graph.real = real
    with torch.no_grad():
        return graph(*inputs)


def same_in_real_numbers(graph, tolerance=1e-4):
    inputs = graph.example(graph.signal(0.7))
    wanted = outputs(graph, inputs, real=False)
    assert len(inputs) == len(graph.inputs)
    assert len(wanted) == len(graph.outputs)
    for name, a, b in zip(graph.outputs, outputs(graph, inputs, real=True), wanted, strict=True):
        assert a.shape == b.shape
        assert float((a - b).norm()) <= tolerance * float(b.norm()), name


OTHERS = [
    *({"fusion": f"{{type: {name}}}"} for name in FUSIONS),
    *({"extractor.sequence": name, "backbone.sequence": name} for name in SEQUENCES),
    *({"path": f"{{type: {name}}}"} for name in PATHS),
    *({"model.anchor": "estimate", "model.estimate_input": flag} for flag in ("true", "false")),
    {"model.output": "score", "model.residual": "false", "path": "{type: ouve}", "model.precondition.c_skip": "edm"},
    {"transform.law": "log", "transform.stereo": "mid_side", "model.level": "peak"},
    {
        "transform": "{type: stft, framing: reflected}",
        "model.frames_multiple": "8",
        "model.frames_padding": "reflected",
    },
    {"extractor": "{type: resunet30, channels: [4, 6], n_fft: 256, hop_length: 80}"},
    {"extractor": "{type: causal, channels: [8, 12], middle: 1, hidden: 8}"},
    {"extractor": "", "fusion": ""},
    *(
        {"backbone": f"{{type: {name}, nf: 8, ch_mult: [1, 2], num_res_blocks: 1}}"}
        for name in BACKBONES
        if name != "compact"
    ),
]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
def test_every_part_computes_in_real_numbers(small_speech, changes):
    model, recipe = small_speech(*(f"{key}={value}" for key, value in changes.items()))
    same_in_real_numbers(Whole(model, recipe, 1))
    for kind in (Extraction, Evaluation, Waveform):
        same_in_real_numbers(kind(model, recipe))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_computes_in_real_numbers(small_speech, sampler, path):
    model, recipe = small_speech(f"sampler={{type: {sampler}}}", f"path={{type: {path}}}")
    try:
        graph = Whole(model, recipe, 2)
    except ConfigError as error:
        assert sampler == "bridge_ode"
        assert path != "bridge" and "for the path 'bridge' alone" in str(error)
        return
    noisy = graph.draws > 0
    assert graph.inputs == (("noisy", "noise") if noisy else ("noisy",))
    assert noisy or sampler in ("exponential", "heun", "bridge_ode")
    same_in_real_numbers(graph, 1e-3)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_whole_is_what_the_enhancer_gives(small_speech, steps):
    model, recipe = small_speech()
    enhancer = from_recipe(model, recipe, steps=steps, device="cpu", precision="fp32")
    noisy = Whole(model, recipe, steps).signal(0.9)
    (found,) = outputs(Whole(model, recipe, steps), [noisy], real=False)
    np.testing.assert_allclose(found.numpy(), enhancer(noisy.numpy(), recipe.sample_rate), atol=1e-6)
    assert float((found - noisy).abs().max()) > 0.01


def test_a_stereo_model_in_blocks(small_model):
    sizes = [
        "extractor.channels=[4, 6]",
        "extractor.frames=128",
        "extractor.overlap=0",
        "backbone.channels=[8, 12]",
        "backbone.hidden=8",
    ]
    graph = Whole(*small_model("vocals", *sizes), 1)
    assert graph.signal(1.0).shape[0] == 2
    same_in_real_numbers(graph)


def test_noise_makes_a_difference_and_may_be_longer_than_needed(small_speech):
    graph = Whole(*small_speech("path={type: ouve}", "sampler={type: euler_maruyama, t_end: 0.1}"), 2)
    noisy, noise = graph.example(graph.signal(0.7))
    assert noise.shape[0] == graph.draws == 2
    (wanted,) = outputs(graph, [noisy, noise], real=True)
    longer = torch.cat([noise, torch.ones(*noise.shape[:3], 5, 2)], 3)
    assert torch.equal(outputs(graph, [noisy, longer], real=True)[0], wanted)
    assert float((outputs(graph, [noisy, 0 * noise], real=True)[0] - wanted).norm() / wanted.norm()) > 0.01
