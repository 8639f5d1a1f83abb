"""Somebody else's module: its layers are the latents, its output the estimate, and its code runs only when trusted."""

from __future__ import annotations

import copy
import json
import sys
import threading
import types

import pytest
import torch
from torch import nn

from exdiff.checkpoints.checkpoint import RECIPE, build_model, load_model, save_model
from exdiff.core.config import build
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.core.recipe import Recipe
from exdiff.inference.loading import load
from exdiff.model.extractors import EXTRACTORS, ModuleExtractor
from exdiff.training.objective import Objective

FACTORY = "exdiff_test_nets:Recurrent"


class Recurrent(nn.Module):
    """[B, 1, T] -> {"sources": [B, 2, T], "side": ...}, with an LSTM, a 2-D layer, dropout and a layer that rests."""

    made = 0

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        type(self).made += 1
        self.inlet = nn.Conv1d(1, width, 8, 4, padding=2)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.picture = nn.Conv2d(1, 2, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.resting = nn.Linear(1, 1)

    def forward(self, wave):
        x = self.inlet(wave)
        x = self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        mask = self.dropout(self.picture(x[:, None]).mean((1, 2)))
        mask = nn.functional.interpolate(mask[:, None], wave.shape[-1])
        return {"sources": torch.cat([wave * mask, wave], 1), "side": x}


@pytest.fixture(autouse=True)
def nets(monkeypatch):
    module = types.ModuleType("exdiff_test_nets")
    module.Recurrent, module.number = Recurrent, lambda: 3
    monkeypatch.setitem(sys.modules, "exdiff_test_nets", module)
    Recurrent.made = 0


def make(**options) -> ModuleExtractor:
    torch.manual_seed(0)
    section = {"type": "module", "factory": FACTORY, "latents": ["inlet"], "output": "sources", "sample_rate": 800}
    return build(EXTRACTORS, section | options)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_latents_are_what_the_layers_gave():
    extractor = make(latents={"inlet": "bdn", "lstm": "bnd", "picture": "bfdn"}).eval()
    assert extractor.latent_channels == (4, 4, 4)
    wave = noise(2, 1, 100)
    x = extractor.network.inlet(wave)
    h = extractor.network.lstm(x.transpose(1, 2))[0].transpose(1, 2)
    picture = extractor.network.picture(h[:, None])
    extraction = extractor(wave)
    for found, expected in zip(
        extraction.latents, (x[:, :, None], h[:, :, None], picture.transpose(1, 2)), strict=True
    ):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(extraction.estimate, extractor.network(wave)["sources"][:, :1])


def test_the_source_and_the_mixture_as_estimates():
    wave = noise(2, 1, 100)
    torch.testing.assert_close(make(source=1)(wave).estimate, wave)
    torch.testing.assert_close(make(output=None)(wave).estimate, wave)


def test_a_rate_of_its_own():
    extractor = make(rate=1600, output=None)
    assert extractor(noise(1, 1, 400)).latents[0].shape == (1, 4, 1, 200)


def test_a_copy_has_latents_of_its_own():
    extractor = make()
    other = copy.deepcopy(extractor)
    nn.init.zeros_(other.network.inlet.weight)
    nn.init.zeros_(other.network.inlet.bias)
    assert not other(noise(1, 1, 100)).latents[0].any()
    assert extractor(noise(1, 1, 100)).latents[0].any()
    extractor.network(noise(1, 1, 100))  # outside of a call nothing is kept


def test_threads_that_share_a_module_get_their_own_latents():
    """Every thread pauses behind the latent layer until all have run it: the last one's output is there to be taken."""
    extractor, count = make().eval(), 4
    together = threading.Barrier(count)
    extractor.network.lstm.register_forward_pre_hook(lambda *_: (together.wait(10), None)[1])
    waves = [(i + 1) * noise(1, 1, 100) for i in range(count)]
    found: dict[int, torch.Tensor] = {}

    def work(i: int) -> None:
        for _ in range(5):
            found[i] = extractor(waves[i]).latents[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, wave in enumerate(waves):
        torch.testing.assert_close(found[i][:, :, 0], extractor.network.inlet(wave), rtol=0, atol=1e-6)


def test_a_call_within_a_call_leaves_the_outer_latents_alone():
    extractor = make(latents=["inlet", "picture"]).eval()  # one runs before the inner call, one after it
    outer, inner = noise(1, 1, 100), torch.ones(1, 1, 60)
    expected = {n: extractor(n).latents for n in (outer, inner)}
    found = []

    def again(_module, inputs):
        if not found:  # once, behind the latent layer of the outer call
            found.append(None)
            found[0] = extractor(inner).latents

    extractor.network.lstm.register_forward_pre_hook(again)
    torch.testing.assert_close(extractor(outer).latents, expected[outer])
    torch.testing.assert_close(found[0], expected[inner])


def test_a_call_that_fails_leaves_nothing_behind():
    extractor = make().eval()
    expected = extractor(noise(1, 1, 100)).latents[0]
    with pytest.raises(RuntimeError):
        extractor(torch.zeros(1, 1, 2))  # shorter than the kernel
    torch.testing.assert_close(extractor(noise(1, 1, 100)).latents[0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factory": "exdiff_test_nets"}, "must look like package.module:callable"),
        ({"factory": "exdiff_no_such:Net"}, "cannot be imported"),
        ({"factory": "exdiff_test_nets:Recurent"}, "cannot be imported"),
        ({"factory": "exdiff_test_nets:number", "latents": [""]}, "returns a int, not a torch.nn.Module"),
        ({"options": {"wdith": 3}}, "unexpected keyword"),
        ({"latents": ["inlt"]}, r"no layer 'inlt'; did you mean 'inlet'\?"),
        ({"latents": ["resting"]}, "did not run"),
        ({"latents": []}, "name one latent or more"),
        ({"latents": {"inlet": "bd"}}, "axes must be an order"),
        ({"latents": {"inlet": "bdfn"}}, "does not fit the axes 'bdfn'"),
        ({"output": "estimate"}, "does not run on a waveform"),
        ({"channel_axis": False}, "does not run on a waveform"),
    ],
)
def test_what_is_wrong_is_said(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.fixture
def saved(tmp_path):
    section = {"type": "module", "factory": FACTORY, "latents": ["inlet"], "output": "sources"}
    recipe = Recipe.from_dict({**Recipe.load("debug", ["model.joint=false"]).to_dict(), "extractor": section})
    torch.manual_seed(0)
    save_model(build_model(recipe), recipe, tmp_path)
    Recurrent.made = 0
    return tmp_path


def test_a_checkpoint_runs_no_code_unless_it_is_trusted(saved):
    for refused in (lambda: load_model(saved), lambda: load(saved, device="cpu")):
        with pytest.raises(CheckpointError, match=rf"asks to import and run '{FACTORY}'.*trust_code=True"):
            refused()
    assert Recurrent.made == 0
    load_model(saved, trust_code=True)
    assert Recurrent.made == 1
    assert load(saved, device="cpu", trust_code=True).model.extractor.latent_channels == (4,)


def test_a_stolen_factory_does_not_run(saved, tmp_path, monkeypatch):
    table = json.loads((saved / RECIPE).read_text())
    table["extractor"] = {"type": "module", "factory": "os:system", "latents": [""], "options": {"command": "exit 1"}}
    (saved / RECIPE).write_text(json.dumps(table))
    ran = []
    monkeypatch.setattr("os.system", lambda command: ran.append(command))
    with pytest.raises(CheckpointError, match="asks to import and run 'os:system'"):
        load_model(saved)
    assert not ran


def test_frozen_it_neither_learns_nor_drops_out(saved):
    model, _ = load_model(saved, trust_code=True)
    objective = Objective(model)
    model.train()
    assert model.backbone.training
    assert not any(m.training for m in model.extractor.modules())
    wave = noise(1, 1, 1000)
    torch.testing.assert_close(model.extractor(wave).estimate, model.extractor(wave).estimate)
    nn.init.ones_(model.backbone.outlet.weight)  # zero at first, it lets no gradient through
    objective(wave, wave)["loss"].backward()
    assert all(p.grad is None for p in model.extractor.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.fusion.parameters())


def test_jointly_it_learns(saved):
    model, _ = load_model(saved, trust_code=True)
    objective = Objective(model, joint=True)
    model.train()
    assert all(m.training for m in model.extractor.modules())
    wave = noise(1, 1, 1000)
    objective(0.5 * wave, wave)["loss"].backward()
    assert model.extractor.network.inlet.weight.grad.any()
