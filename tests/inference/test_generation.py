"""Signals of different recordings and lengths in one call of the model come out as they do alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exdiff.checkpoints.checkpoint import build_model
from exdiff.core.recipe import Recipe
from exdiff.inference.generation import Generation, Request
from exdiff.inference.options import CallSettings
from exdiff.inference.signals import Signal
from exdiff.model.backbones import BACKBONES
from exdiff.model.fusion import FUSIONS
from exdiff.model.nn.sequences import SEQUENCES
from exdiff.model.samplers import SAMPLERS

RATE = 16000
LENGTHS = (8000, 11111, 9999, 11340, 8001)  # 11340 is a multiple of the hop
SETTINGS = CallSettings(RATE, 0, 2, 1.0, SAMPLERS["predictor_corrector"], {})


def made(channels=1, **changes):
    """The debug recipe's model, with weights that are never all zero."""
    torch.manual_seed(0)
    recipe = Recipe.load("debug").to_dict() | {"channels": channels}
    recipe |= {key: {**recipe[key], **change} for key, change in changes.items()}
    model = build_model(Recipe.from_dict(recipe)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def requests(settings=SETTINGS, channels=1, lengths=LENGTHS):
    """Of as many recordings, each with a seed and a window number of its own."""
    torch.manual_seed(1)
    waves = [0.1 * torch.randn(channels, length) for length in lengths]
    return [
        Request(wave, Signal(0, number, (0,), 1.0), replace(settings, seed=7 * number))
        for number, wave in enumerate(waves)
    ]


def check(model, asked, tolerance=-100.0):
    generation = Generation(model, torch.device("cpu"), torch.float32)
    for request, got in zip(asked, generation(asked), strict=True):
        wanted = generation([request])[0]
        assert got.nfe == wanted.nfe
        assert got.wave.shape == wanted.wave.shape == request.wave.shape
        error = (got.wave - wanted.wave).square().sum() / wanted.wave.square().sum()
        assert 10 * torch.log10(error + 1e-30) < tolerance


@pytest.mark.parametrize("sampler", [None, *SAMPLERS])
def test_with_every_sampler(sampler):
    settings = replace(SETTINGS, **({"steps": 0} if sampler is None else {"sampler": SAMPLERS[sampler]}))
    path = {"type": "bridge"} if sampler is not None and sampler.startswith("bridge") else {}
    check(made(path=path), requests(settings))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_with_every_fusion(fusion):
    model = made(fusion={"type": fusion})
    check(model, requests() if model.ragged else requests(lengths=(9000, 9000)))
    assert model.ragged == (fusion != "cross_attention")


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_with_every_sequence_model(sequence):
    check(made(extractor={"sequence": sequence}, backbone={"sequence": sequence}), requests())


@pytest.mark.parametrize("anchor", ["mixture", "estimate"])
def test_in_stereo_from_either_anchor(anchor):
    check(made(2, model={"anchor": anchor}), requests(channels=2))


def test_what_is_behind_an_end_matters_without_the_ends(monkeypatch):
    """So the tests above would notice."""
    from contextlib import nullcontext

    from exdiff.inference import generation

    monkeypatch.setattr(generation, "valid_lengths", lambda axes, device: nullcontext())
    with pytest.raises(AssertionError):
        check(made(), requests(replace(SETTINGS, steps=0)), tolerance=-60.0)


@pytest.mark.parametrize(
    ("changes", "ragged"),
    [
        ({}, True),
        ({"transform": {"hop_length": 42}}, False),
        ({"transform": {"framing": "reflected"}}, False),
        ({"model": {"frames_multiple": 8}}, False),
        ({"extractor": {"n_fft": 254, "hop_length": 127}}, False),
    ],
)
def test_lengths_share_a_batch_only_where_frames_do_not_look_over_the_end(changes, ragged):
    model = made(**changes)
    assert model.ragged == ragged
    generation = Generation(model, torch.device("cpu"), torch.float32)
    kinds = {generation.kind(request) for request in requests()}
    assert len(kinds) == (1 if ragged else len(LENGTHS))
    same = requests(lengths=(9000, 9000, 9000))
    assert len({generation.kind(request) for request in same}) == 1
    check(model, same)


def test_compiled_networks_and_other_backbones_take_one_length(monkeypatch):
    model = made()
    monkeypatch.setattr(model.backbone, "_compiled_call_impl", model.backbone.forward)
    assert not model.ragged
    kinds = {name: getattr(kind, "func", kind) for name, kind in BACKBONES.items()}
    assert [name for name, kind in kinds.items() if kind.ragged] == ["compact"]


def test_requests_of_different_calls_share_a_batch_if_the_model_does_the_same():
    generation = Generation(made(), torch.device("cpu"), torch.float32)
    request = requests()[0]

    def kind(**changes):
        return generation.kind(request._replace(settings=replace(SETTINGS, **changes)))

    assert kind(seed=5, rate=8000, strength=0.5, stems=True) == kind()
    for changes in ({"steps": 3}, {"sampler": SAMPLERS["heun"]}, {"options": {"snr": 0.1}}):
        assert kind(**changes) != kind()
