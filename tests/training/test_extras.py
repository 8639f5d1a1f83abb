"""What one may ask of a run besides a model: a profile, TensorBoard, compiled networks, an end in good order."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.training import loop, train
from exdiff.training.profile import PHASES, device_times
from exdiff.training.stop import Stop
from exdiff.training.tensorboard import spectrograms


def test_a_profile_says_where_the_time_goes(tmp_path, recipe):
    said = []
    train(recipe("training.steps=10"), tmp_path, profile=True, report=said.append)
    text = (tmp_path / "profile.txt").read_text()
    shares = {n.strip(): float(v) for n, v in re.findall(r"^([a-z ]+?) +[\d.]+ +([\d.]+)%$", text, re.MULTILINE)}
    assert list(shares) == [*PHASES, "everything else"]
    assert sum(shares.values()) == pytest.approx(100, abs=1)
    assert shares["forward"] > 5
    assert shares["backward"] > 5
    assert text.startswith("7 steps of "), "of ten, after three that warm up"
    assert "convolution" in text
    assert (tmp_path / "profile.json.gz").stat().st_size > 1000
    assert f"where the time goes is in {tmp_path / 'profile.txt'}" in said


def test_a_profile_sees_the_batches_made_ahead(tmp_path, recipe):
    train(recipe("training.steps=10", "training.mixer=device"), tmp_path, profile=True, report=lambda line: None)
    events = json.loads(gzip.decompress((tmp_path / "profile.json.gz").read_bytes()))["traceEvents"]
    ahead = {event["tid"] for event in events if event.get("name") == "ahead"}
    assert ahead and ahead.isdisjoint({event["tid"] for event in events if event.get("name") == "forward"})


def test_kernels_belong_to_the_phase_that_launched_them_in_whatever_thread():
    def event(name, start, end, thread=1, *kernels):
        span, work = SimpleNamespace(start=start, end=end), [SimpleNamespace(duration=k) for k in kernels]
        return SimpleNamespace(name=name, time_range=span, thread=thread, kernels=work)

    phases = [event("ProfilerStep#3", 0, 100, 1, 99), event("forward", 10, 40, 1, 99), event("backward", 40, 80)]
    phases += [event("ahead", 20, 70, 3)]
    launches = [event("conv", 15, 16, 1, 4.0, 1.0), event("conv", 39, 50, 1, 2.0)]  # begun in the forward pass
    launches += [event("conv_backward", 60, 61, 2, 8.0)]  # autograd's thread
    launches += [event("mix", 30, 31, 3, 16.0), event("mix", 65, 66, 3, 32.0)]  # the next batch's
    launches += [event("copy", 90, 91, 1, 64.0), event("view", 90, 91)]
    times = device_times([*phases, *launches])
    assert times == {"forward": 7.0, "backward": 8.0, "ahead": 48.0, "everything else": 64.0}


def test_a_run_too_short_for_a_profile_says_so(tmp_path, recipe):
    said = []
    train(recipe("training.steps=9"), tmp_path, profile=True, report=said.append)
    assert "the run is too short to profile: it takes 10 steps" in said
    assert not (tmp_path / "profile.txt").exists()


def test_tensorboard_gets_losses_scores_pictures_and_sound(tmp_path, recipe):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(recipe("training.steps=4", "training.tensorboard=true", "training.validate_examples=6"), tmp_path)
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"audio": 0, "images": 0})
    found.Reload()
    tags = found.Tags()
    assert {"train/loss", "train/learning_rate", "train/waiting", "validation/si_sdr"} <= set(tags["scalars"])
    assert [event.step for event in found.Scalars("train/loss")] == [2, 4]
    assert set(tags["images"]) == {"example 1", "example 2", "example 3"}
    assert {"example 1/mixture", "example 1/estimate", "example 2/clean"} <= set(tags["audio"])
    (sound,) = found.Audio("example 1/mixture")
    assert (sound.step, sound.sample_rate, sound.length_frames) == (4, 16000.0, 1600)


def test_tensorboard_without_the_extra_is_a_clear_error(tmp_path, recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'exdiff\[train\]'"):
        train(recipe("training.steps=1", "training.tensorboard=true"), tmp_path)


def test_spectrograms_share_one_scale():
    wave = np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)
    figure = spectrograms({"loud": wave, "soft": 0.1 * wave}, 16000)
    loud, soft = (panel.images[0].get_array() for panel in figure.axes[:2])
    assert loud.max() == pytest.approx(0)
    assert soft.max() == pytest.approx(-20, abs=0.01)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_networks_take_the_same_steps(tmp_path, recipe, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of processes to stay behind
    smaller = ["extractor={}", "fusion={}", "model={output: denoised}", "training.steps=2"]
    smaller += ["objective={weights: {si_sdr: 0.0}}"]
    smaller += ["backbone={type: compact, channels: [4], blocks: 0, middle: 0, hidden: 1, embedding: 4}"]
    plain = train(recipe(*smaller), tmp_path / "plain")
    compiled = train(recipe(*smaller, "training.compile=true"), tmp_path / "compiled")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "something was compiled"
    for (name, a), b in zip(plain.model.named_parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4, msg=name)


def test_cudnn_chooses_its_convolutions_in_training_and_not_in_validation(tmp_path, recipe, monkeypatch):
    seen, step, validate = {}, loop.train_step, loop.validate

    def noted(name, function):
        def call(*arguments):
            seen[name] = torch.backends.cudnn.benchmark
            return function(*arguments)

        return call

    monkeypatch.setattr(loop, "train_step", noted("training", step))
    monkeypatch.setattr(loop, "validate", noted("validation", validate))
    train(recipe("training.steps=1"), tmp_path)
    assert seen == {"training": True, "validation": False}
    assert not torch.backends.cudnn.benchmark, "as it was"


def test_the_first_signal_is_a_wish_and_the_second_an_order():
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_the_parent_ignores_stays_ignored():
    """A script's `exdiff train ... &` must not stop when somebody presses Ctrl-C for something else."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_run_ends_after_its_step_saved_and_goes_on(tmp_path, recipe, same, log, monkeypatch):
    plan = recipe("training.steps=4")
    train(plan, tmp_path / "whole")
    step = loop.train_step

    def interrupted(state, *arguments):
        if state.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(state, *arguments)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["step"] == 2
    assert not any("validation" in line for line in log(tmp_path / "cut")), "who interrupts does not want to wait"
    monkeypatch.setattr(loop, "train_step", step)
    train(plan, tmp_path / "cut", resume=True)
    same(tmp_path / "whole", tmp_path / "cut")
