"""Published SGMSE checkpoints: settings become a recipe, averaged weights a model that says what they said."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import exdiff
from exdiff.checkpoints.checkpoint import load_model, load_recipe
from exdiff.checkpoints.interop.pickles import Stored
from exdiff.checkpoints.interop.sgmse import averaged
from exdiff.cli import app
from exdiff.core.errors import CheckpointError

SIZES = {"n_fft": 510, "hop_length": 128, "image_size": 256}


def spectra(bins=256, frames=10, batch=2):
    return torch.randn(2, batch, 1, bins, frames, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def says(network, *inputs, t):
    """The network's own output for complex inputs whose frames are padded already."""
    out = network(torch.cat([part for s in inputs for part in (s.real, s.imag)], 1), t)
    return torch.complex(*out.chunk(2, 1))


@pytest.mark.parametrize("kind", ["ncsnpp", "ncsnpp_48k"])
@pytest.mark.parametrize("ema", [True, "learning"])
@torch.no_grad()
def test_the_first_networks_give_minus_the_averaged_network(write, kind, ema):
    path, averaged = write(kind, ema=ema, **SIZES)
    model, recipe = load_model(path)
    x_t, y = spectra(frames=64, batch=1)
    t = torch.tensor([0.4])
    if ema == "learning":
        averaged.time.frequencies.copy_(model.backbone.time.frequencies)
    torch.testing.assert_close(model.raw_output(x_t, y, t), -says(averaged, x_t, y, t=t))
    assert recipe.path == {"type": "ouve", "theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5, "t_min": 0.03}
    assert recipe.model["output"] == "score"
    prediction = model.predict(x_t, t, model.condition(torch.ones(1, 1, 8000)))
    assert torch.equal(prediction.score, prediction.output)


@pytest.mark.parametrize(
    ("kind", "mode"), [("ncsnpp", "constant"), ("ncsnpp_v2", "reflect"), ("ncsnpp_48k", "reflect")]
)
@torch.no_grad()
def test_frames_are_padded_as_the_network_is_used_to(write, kind, mode):
    path, _ = write(kind, **SIZES)
    model, _ = load_model(path)
    x_t, y = spectra(frames=40, batch=1)
    t = torch.tensor([0.4])

    def pad(x):
        return torch.complex(*(torch.nn.functional.pad(p[:, 0], (0, 24), mode=mode)[:, None] for p in (x.real, x.imag)))

    torch.testing.assert_close(model.raw_output(x_t, y, t), model.raw_output(pad(x_t), pad(y), t)[..., :40])
    wave = torch.randn(1, 1, 40 * 128 - 100)
    spectrum = model.transform(wave)
    assert spectrum.shape[-1] == 40
    assert torch.equal(model.condition(wave).y, pad(spectrum))


@pytest.mark.parametrize(
    ("sde", "objective", "scales"),
    [
        ("ouve", "score_matching", ("1", "1", "0", "1/sigma")),
        ("ouve", "score_matching", ("edm", "1/sigma", "0", "1/t")),
        ("sbve", "data_prediction", ("edm", "edm", "edm", None)),
        ("sbve", "data_prediction", ("1", "sigma", "0", None)),
    ],
)
@torch.no_grad()
def test_scalings(write, sde, objective, scales):
    """As printed in Richter et al. 2024; all combinations are in tests/diffusion/test_precondition.py."""
    d, t = 0.3, torch.tensor([0.4, 0.9])
    x_t, y = spectra(bins=32, frames=64)
    c_in, c_out, c_skip, scaling = scales
    settings = {"c_in": c_in, "c_out": c_out, "c_skip": c_skip, "network_scaling": scaling, "sigma_data": d}
    path, averaged = write("ncsnpp_v2", sde, loss_type=objective, n_fft=62, hop_length=16, **settings)
    model, recipe = load_model(path)
    s, time = model.path.coefficients(t).sigma[:, None, None, None], t[:, None, None, None]
    root = (s**2 + d**2).sqrt()
    inward = 1 / root if c_in == "edm" else 1
    outward = {"1": 1, "sigma": s, "1/sigma": 1 / s, "edm": s * d / root}[c_out]
    skip = d**2 / root**2 if c_skip == "edm" else 0
    out = says(averaged, inward * x_t, inward * y, t=t) / {None: 1, "1/sigma": s, "1/t": time}[scaling]
    torch.testing.assert_close(model.raw_output(x_t, y, t), skip * x_t + outward * out, rtol=1e-4, atol=1e-4)
    assert recipe.model["output"] == {"score_matching": "score", "data_prediction": "denoised"}[objective]


@torch.no_grad()
def test_the_denoiser_objective(write):
    path, averaged = write("ncsnpp_v2", loss_type="denoiser", n_fft=62, hop_length=16)
    model, _ = load_model(path)
    x_t, y = spectra(bins=32, frames=64)
    t = torch.tensor([0.4, 0.9])
    s = model.path.coefficients(t).sigma[:, None, None, None]
    torch.testing.assert_close(
        model.raw_output(x_t, y, t), (says(averaged, x_t, y, t=t) - x_t) / s**2, rtol=1e-4, atol=1e-3
    )


def test_48_khz(write):
    path, _ = write(
        "ncsnpp_48k", n_fft=1534, hop_length=384, spec_factor=0.065, spec_abs_exponent=0.667, theta=2.0,
        sigma_min=0.1, sigma_max=1.0, N=3, options={"attn_resolutions": []},
    )  # fmt: skip
    enhancer = exdiff.load(path, steps=1)
    model = enhancer.model
    assert model.sample_rate == 48000
    assert (model.transform.bins, model.transform.factor, model.transform.exponent) == (768, 0.065, 0.667)
    assert (model.path.theta, model.path.sigma_min) == (2.0, 0.1)
    wave = 0.1 * torch.randn(1, 20000, generator=torch.Generator().manual_seed(0))
    out = enhancer(wave, 48000)
    assert out.shape == wave.shape and out.isfinite().all()
    assert load_recipe(path).sampler["steps"] == 3


@pytest.mark.parametrize(
    ("settings", "section", "expected"),
    [
        ({"transform_type": "log"}, "transform", {"law": "log", "exponent": 1.0, "factor": 0.15}),
        ({"transform_type": "none"}, "transform", {"law": "power", "exponent": 1.0, "factor": 1.0}),
        ({"window": "sqrthann"}, "transform", {"window": "sqrt_hann", "framing": "reflected"}),
        ({"sde": "sbve", "k": 3.0, "c": 0.2}, "path", {"type": "bridge", "k": 3.0, "c": 0.2, "t_min": 1e-4}),
        ({"sde": "sbve", "N": 7}, "sampler", {"type": "bridge_ode", "steps": 7}),
        ({"sde": "sbve", "sampler_type": "sde"}, "sampler", {"type": "bridge_sde", "arrival": True, "steps": 50}),
        ({"t_eps": 0.05}, "path", {"t_min": 0.05}),
        ({"scale_by_sigma": False}, "backbone", {"divide_by_time": "nothing"}),
        ({"fir": False, "centered": False}, "backbone", {"fir_kernel": [1, 1], "centered": False}),
        ({}, "model", {"level": "peak", "anchor": "mixture", "frames_multiple": 64, "frames_padding": "zeros"}),
    ],
)
def test_settings_decide(write, settings, section, expected):
    path, _ = write(**{"kind": "ncsnpp", **settings})
    recipe = load_recipe(path)
    assert expected.items() <= getattr(recipe, section).items()
    load_model(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sde": "ouvp"}, "unknown sde 'ouvp'; did you mean 'ouve'"),
        ({"backbone": "dcunet"}, "unknown backbone 'dcunet'; allowed: ncsnpp, ncsnpp_48k, ncsnpp_v2"),
        ({"progressive": "residual"}, "unknown progressive 'residual'"),
        ({"resblock_type": "ddpm"}, "unknown resblock_type 'ddpm'"),
        ({"loss_type": "rectified_flow"}, "unknown loss_type"),
        ({"num_res_blocks": 2}, "the weights do not fit the hyper-parameters: .* is (missing in|unknown to)"),
        ({"theta": "fast"}, "could not convert string to float"),
        ({"theta": -1.0}, "needs theta > 0"),
        ({"prefix": "net."}, "is missing in the checkpoint"),
    ],
)
def test_what_is_not_known_is_refused(write, settings, message):
    path, _ = write(**settings)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert "model.ckpt" in str(caught.value) and "\n" not in str(caught.value)


def test_no_average_is_said(write):
    path, _ = write(ema=False)
    with pytest.warns(UserWarning, match="holds no moving average of the weights"):
        load_model(path)


def test_an_average_of_another_network_is_refused(write):
    path, _ = write()
    names = [f"all_modules.{i}" for i in range(3)]
    stored = {name: Stored(f"model/data/{i}", torch.float32, 2, size=(2,)) for i, name in enumerate(names)}
    for shadow, message in [
        (list(stored.values())[:1], "has 1 tensors, the network 3"),
        (
            [*list(stored.values())[:2], Stored("x", torch.float32, 3, size=(3,))],
            "does not fit the network at all_modules.2",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            averaged(path, {"shadow_params": shadow}, stored, set(names))


def test_another_checkpoint_is_refused(tmp_path):
    torch.save({"hyper_parameters": {"backbone": "ncsnpp"}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="is not an SGMSE checkpoint"):
        load_model(tmp_path / "x.ckpt")


def test_convert(write, tmp_path):
    path, _ = write("ncsnpp_v2", "sbve", loss_type="data_prediction", n_fft=62, hop_length=16)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["convert", str(path), str(out)])
    assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["model.safetensors", "recipe.json"]
    first, second = load_model(path)[0], load_model(out)[0]
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert json.loads((out / "recipe.json").read_text())["path"]["guard"] == 1e-8
    wave = 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(exdiff.load(path, steps=2)(wave, 16000), exdiff.load(out, steps=2)(wave, 16000))
    for arguments, message in [
        (["convert", str(path), str(out)], "exists already"),
        (["convert", str(tmp_path / "no.ckpt"), str(tmp_path / "x")], "is not a file"),
        (["enhance", "x.wav", "--model", str(tmp_path / "no.ckpt")], "no.ckpt does not exist"),
    ]:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2 and message in done.stderr


def test_sampler_options_reach_a_loaded_model(write):
    path, _ = write(n_fft=62, hop_length=16)
    wave = 0.1 * torch.randn(3000, generator=torch.Generator().manual_seed(0))
    quiet = exdiff.load(path, steps=1, sampler_options={"noise_scale": 0.0})
    assert torch.equal(quiet(wave, 16000, seed=1), quiet(wave, 16000, seed=2))
    loud = exdiff.load(path, steps=1)
    assert not torch.equal(loud(wave, 16000, seed=1), loud(wave, 16000, seed=2))
