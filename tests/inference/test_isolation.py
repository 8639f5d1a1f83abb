"""No hidden state: calls that run side by side, and the caller's own module."""

from __future__ import annotations

import copy
import threading
from dataclasses import asdict

import numpy as np
import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.core import machine
from exdiff.core.recipe import Recipe
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.loading import from_recipe, load

RATE = 16000


def signal(channels, length, seed):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, length)).astype(np.float32)


# (signal, rate, options) of calls that differ in everything that a record holds
CALLS = [
    (signal(1, 2 * RATE + 7, 0), RATE, {"seed": 1}),
    (signal(2, 3 * RATE, 1), RATE, {"seed": 2, "steps": 3}),
    (signal(1, RATE, 2), 8000, {"seed": 3, "sampler": "heun", "steps": 3}),
    (signal(3, RATE // 2, 3), RATE, {"steps": 0}),
    (signal(1, 4 * RATE, 4), 22050, {"seed": 4, "sampler": "exponential", "strength": 0.6}),
]


def facts(run):
    """A record but for its time, which is never the same."""
    return {key: value for key, value in asdict(run).items() if key != "seconds"}


def alone(make):
    """What each call gives on an enhancer of its own."""
    return [make().run(audio, rate, **options) for audio, rate, options in CALLS]


def test_the_record_of_a_call_is_its_own(enhancer):
    made = enhancer()
    (first, one), (_, two) = (made.run(audio, rate, **options) for audio, rate, options in CALLS[:2])
    assert (one.nfe, one.windows) == (4, 3)
    assert (two.nfe, two.windows) == (6, 5)
    assert one.audio_seconds == pytest.approx(2 + 7 / RATE)
    assert one.seconds > 0
    assert one.rtf == pytest.approx(one.seconds / one.audio_seconds)
    assert made.last is two
    np.testing.assert_array_equal(made(CALLS[0][0], RATE, seed=1), first)
    assert facts(made.last) == facts(one)
    assert made.last is not one


def test_threads_on_one_enhancer_give_what_each_gives_alone(enhancer):
    expected = alone(enhancer)
    shared = enhancer()
    rounds = 2
    found = {}
    start = threading.Barrier(len(CALLS))

    def work(number):
        audio, rate, options = CALLS[number]
        start.wait()
        for turn in range(rounds):
            found[number, turn] = shared.run(audio, rate, **options)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(CALLS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == rounds * len(CALLS)
    for (number, _), (audio, run) in found.items():
        np.testing.assert_array_equal(audio, expected[number][0])
        assert facts(run) == facts(expected[number][1])


def test_interleaved_streams_give_what_each_gives_alone(enhancer):
    def open_stream(made, number):
        audio, rate, options = CALLS[number]
        return made.stream(np.array_split(audio, 7 + number, axis=1), rate, **options)

    expected = []
    for number in range(len(CALLS)):
        stream = open_stream(enhancer(), number)
        expected.append((list(stream), stream.run))
    shared = enhancer()
    streams = [open_stream(shared, number) for number in range(len(CALLS))]
    parts = [[] for _ in CALLS]
    left = set(range(len(CALLS)))
    while left:
        for number in sorted(left):
            part = next(streams[number], None)
            if part is None:
                left.discard(number)
            else:
                parts[number].append(part)
        shared(CALLS[0][0], RATE, seed=9)  # and a call in between
    for number, (wanted, run) in enumerate(expected):
        assert len(parts[number]) == len(wanted)
        for got, want in zip(parts[number], wanted, strict=True):
            np.testing.assert_array_equal(got, want)
        assert facts(streams[number].run) == facts(run)


def test_the_record_of_a_stream_grows_while_it_is_read(enhancer):
    audio, rate, _ = CALLS[1]
    stream = enhancer().stream(np.array_split(audio, 10, axis=1), rate)
    assert facts(stream.run) == {"nfe": 0, "audio_seconds": 0.0, "windows": 0}
    next(stream)
    assert 0 < stream.run.windows < 5
    list(stream)
    assert stream.run.windows == 5
    assert stream.run.audio_seconds == pytest.approx(3.0)
    both = enhancer().separate_stream([audio], rate)
    list(both)
    assert facts(both.run) == facts(stream.run)


def state_of(module):
    tensors = [*module.parameters(), *module.buffers()]
    return (
        [part.training for part in module.modules()],
        [(tensor.device, tensor.data_ptr(), tensor.stride(), tensor.clone()) for tensor in tensors],
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("through", ["Enhancer", "from_recipe"])
def test_the_callers_module_is_left_as_it_is(network, monkeypatch, training, last, through):
    monkeypatch.setattr(machine, "_channels_last_is_faster", lambda name, device: last)
    model = network().train(training)
    model.backbone.eval()  # a mixture of modes must survive, too
    flags, tensors = state_of(model)
    if through == "Enhancer":
        made = Enhancer(model, "exponential", device="cpu")
    else:
        made = from_recipe(model, Recipe.load("debug"), device="cpu")
    made(signal(1, 8000, 0), RATE)
    flags_after, tensors_after = state_of(model)
    assert flags_after == flags
    for (device, place, strides, values), after in zip(tensors, tensors_after, strict=True):
        assert (device, place, strides) == after[:3]
        assert torch.equal(values, after[3])
    assert not any(part.training for part in made.model.modules())
    weights = [p for p in made.model.parameters() if p.ndim == 4]
    layout = torch.channels_last if last else torch.contiguous_format
    assert all(weight.is_contiguous(memory_format=layout) for weight in weights)


def test_a_model_that_is_ready_is_used_itself(network, monkeypatch):
    monkeypatch.setattr(machine, "_channels_last_is_faster", lambda name, device: False)
    model = network()
    assert Enhancer(model, "exponential", device="cpu").model is model


def test_a_copy_does_not_follow_the_original(network):
    model, audio = network().train(), signal(1, 8000, 0)
    made = Enhancer(model, "exponential", device="cpu")
    before = made(audio, RATE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(made(audio, RATE), before)


def test_a_model_that_keeps_computed_tensors_can_be_copied(network):
    """As layers with the older weight norm do: they hold a weight computed from parameters, which has no plain copy."""
    model = network().train()
    model.scaled = model.backbone.inlet.weight * 2
    made = Enhancer(model, "exponential", device="cpu")
    assert made.model is not model
    assert torch.equal(made.model.scaled, model.scaled)
    assert np.isfinite(made(signal(1, 8000, 0), RATE)).all()


@pytest.mark.parametrize("last", [False, True])
def test_loading_makes_no_second_copy(tmp_path, monkeypatch, last):
    recipe = Recipe.load("debug")
    save_model(build_model(recipe), recipe, tmp_path)
    monkeypatch.setattr(machine, "_channels_last_is_faster", lambda name, device: last)

    def refuse(*_):
        raise AssertionError("the model was copied")

    monkeypatch.setattr(copy, "deepcopy", refuse)
    assert np.isfinite(load(tmp_path, device="cpu")(signal(1, 8000, 0), RATE)).all()


@pytest.fixture
def double_precision():
    """A process whose default dtype becomes float64 when the test calls it."""
    yield lambda: torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("sampler", ["predictor_corrector", "euler_maruyama", "heun", "exponential", "bridge_sde"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_default_dtype_of_the_process_does_not_matter(enhancer, double_precision, sampler, kind):
    made, audio = enhancer(), kind(signal(1, 2 * RATE, 0))
    expected = made(audio, 48000, sampler=sampler)
    double_precision()
    got = made(audio, 48000, sampler=sampler)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_a_model_may_be_loaded_under_another_default_dtype(tmp_path, double_precision):
    torch.manual_seed(0)
    recipe = Recipe.load("debug")
    save_model(build_model(recipe), recipe, tmp_path)
    options = {"device": "cpu", "precision": "fp32"}
    expected = load(tmp_path, **options)(signal(1, RATE, 0), RATE)
    double_precision()
    np.testing.assert_allclose(load(tmp_path, **options)(signal(1, RATE, 0), RATE), expected, atol=1e-6)


def test_the_callers_autocast_does_not_matter(enhancer):
    made, audio = enhancer(), signal(1, 2 * RATE, 0)
    expected = made(audio, 48000)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(made(audio, 48000), expected)
