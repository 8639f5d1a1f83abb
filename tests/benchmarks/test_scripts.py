"""The scripts in benchmarks/: each starts, and what it measures with is what the package has today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from exdiff.core.recipe import Recipe
from exdiff.model.backbones import BACKBONES
from exdiff.model.extractors import SpleeterExtractor
from exdiff.training import Options

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
sys.path.append(str(FOLDER))  # as when they run


def script(name: str) -> ModuleType:
    if name == "spectrogram":
        pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_how_it_is_used(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        script(name).main()
    assert caught.value.code == 0
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["speech", "debug", "vocals", "speech-extractor"])
def test_the_forms_of_training_are_runs_of_the_recipe(recipe):
    training = script("training")
    forms = training.forms(Recipe.load(recipe), everything=True)
    assert training.PLAIN in forms
    for form in forms.values():
        channels = Recipe.load(recipe).channels
        changed = Recipe.load(recipe, [*training.overrides(9, channels), *form.changes])
        assert changed.data == {"type": "synthetic", "channels": channels}
        Options.of(changed.training).check_batch(form.processes)


def test_a_short_run_is_measured():
    training = script("training")
    quick = ["training.segment_seconds=0.1", "training.batch=2", "training.workers=0"]
    result = training.run("debug", training.Form(), 3, 1, quick)
    assert result.audio_per_second > 0
    assert 0 <= result.waiting <= 1
    assert result.first_seconds > 0
    assert result.megabytes > 50


def test_the_plain_form_of_ncsnpp_is_the_same_network():
    ncsnpp = script("ncsnpp")
    torch.manual_seed(0)
    network = BACKBONES["ncsnpp"](nf=8, ch_mult=(1, 2), num_res_blocks=1, image_size=32).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, t = torch.randn(1, 4, 32, 32), torch.tensor([0.5])
    with torch.inference_mode():
        ours = network(x, t)
        with ncsnpp.plainly():
            plain = network(x, t)
        shares = ncsnpp.kinds(lambda: network(x, t))
    assert ours.abs().max() > 0.01
    torch.testing.assert_close(plain, ours, rtol=1e-3, atol=1e-3 * float(ours.abs().max()))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["convolutions"] > 0.05


def test_the_plain_port_of_spleeter_is_the_same_model(monkeypatch):
    spleeter = script("spleeter")
    for name, value in {"SIZE": 256, "HOP": 64, "FRAMES": 64, "BINS": 64}.items():
        monkeypatch.setattr(spleeter, name, value)
    torch.manual_seed(0)
    sizes = {"channels": (4, 6), "n_fft": 256, "hop_length": 64, "bins": 64, "frames": 64}
    ours = SpleeterExtractor(above="zeros", overlap=0, **sizes).eval()
    song = 0.2 * torch.randn(2, (2 * 64 - 5) * 64)
    with torch.inference_mode():
        plain = spleeter.plain(ours, song)
        estimate = ours(song[None]).estimate[0]
    assert plain.abs().max() > 0.01
    torch.testing.assert_close(estimate, plain, rtol=1e-3, atol=1e-4)


def test_the_audio_of_limits_has_the_length_and_channels_of_the_model(tmp_path):
    import soundfile

    limits = script("limits")
    assert limits.material([], 0.5, 8000, 2).shape == (2, 4000)
    soundfile.write(tmp_path / "a.wav", np.arange(100) / 200, 8000, subtype="FLOAT")
    audio = limits.material([tmp_path / "a.wav"], 0.03, 8000, 2)
    assert audio.shape == (2, 240)
    np.testing.assert_allclose(audio[1, 100:200], np.arange(100) / 200)
    with pytest.raises(SystemExit, match="8000 Hz; the model works at 16000 Hz"):
        limits.material([tmp_path / "a.wav"], 0.03, 16000, 1)
    assert limits.difference_db(1.1 * audio, audio) == pytest.approx(-20, abs=0.01)


def test_agreement_of_windows_is_measured_with_the_embedded_model():
    limits = script("limits")
    result = limits.agreement("speech", limits.material([], 3.0, 16000, 1), 16000)
    assert set(result) == {"windows", "windows in batches of 3", "a stream of odd chunks"}
    assert all(level < -60 for level in result.values()), "three seconds are one window however they are cut"


def test_quarters_of_uncertainty(tmp_path):
    trust = script("trust")
    table = {"uncertainty": np.arange(8.0)[::-1], "error": np.arange(8.0)[::-1] - 4}
    assert trust.quarters([table]) == "-3.5 dB | -1.5 dB | +0.5 dB | +2.5 dB"


def test_a_tone_is_at_its_frequency():
    spectrogram = script("spectrogram")
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    assert int(spectrogram.power_db(tone, 8000).mean(axis=1).argmax() / 0.032) == 1000


def test_the_operators_of_a_step_are_counted_by_phase():
    """And Muon needs no more for ten matrices of a shape than for one, or this would be several hundred."""
    step = script("step")
    small = ["training.workers=0", "training.segment_seconds=0.1", "training.precision=fp32", "training.batch=2"]
    with step.without_values():
        counted = step.count(Recipe.load("debug", [*small, "training.optimiser=muon"]), torch.device("meta"))
    assert all(counted.launches[phase] > 0 for phase in step.PHASES)
    assert counted.launches["optimiser"] < counted.launches["forward"]
    assert counted.bytes["backward"] > 0
