"""Checkpoints as the published code writes them, made here: flat names, foreign classes, raw and averaged weights."""

import sys
import types

import pytest
import torch

from exdiff.model.backbones import BACKBONES
from exdiff.model.backbones.ncsnpp_names import published_names

SMALL = {"nf": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [128]}


def network(kind, seed, **options):
    torch.manual_seed(seed)
    made = BACKBONES[kind](in_channels=4, out_channels=2, **{**SMALL, **options}).eval()
    for tensor in made.state_dict().values():
        torch.nn.init.normal_(tensor, std=0.15)
    return made


def published_state(made):
    """Its weights under the published names, as the published layers hold them."""
    state, names = made.state_dict(), published_names(made)
    assert state.keys() == names.keys()
    flip = {ours for ours, name in names.items() if name.endswith(".W") and state[ours].ndim == 4}
    return {
        name: state[ours][:, :, 0, 0].T.contiguous() if ours in flip else state[ours] for ours, name in names.items()
    }


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(kind, sde, options_of_the_network, **settings)` -> path, the averaged network."""

    def make(kind="ncsnpp", sde="ouve", options=None, ema=True, name="model.ckpt", prefix="dnn.", **settings):
        last, averaged = (network(kind, seed, **(options or {})) for seed in (1, 2))
        state = published_state(last)
        # The order of the module's parameters: the output layer was made first.
        shadow = [published_state(averaged)[key] for key in state]
        if ema == "learning":
            del shadow[list(state).index("all_modules.0.W")]
        foreign = types.ModuleType("sgmse.data_module")
        foreign.SpecsDataModule = type("SpecsDataModule", (), {"__module__": "sgmse.data_module"})
        for module in ("sgmse", "sgmse.data_module"):
            monkeypatch.setitem(sys.modules, module, foreign)
        hyper = {
            "backbone": kind,
            "sde": sde,
            "data_module_cls": foreign.SpecsDataModule,
            "object": foreign.SpecsDataModule(),
        }
        table = {
            "epoch": 3,
            "state_dict": {prefix + key: value for key, value in state.items()},
            "hyper_parameters": {**hyper, **SMALL, **(options or {}), **settings},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "device": torch.device("cpu")}],
        }
        if ema:
            table["ema"] = {"decay": 0.999, "num_updates": 7, "shadow_params": shadow, "collected_params": None}
        path = tmp_path / name
        torch.save(table, path)
        for module in ("sgmse", "sgmse.data_module"):
            monkeypatch.delitem(sys.modules, module)
        return path, averaged

    return make
