"""Nothing in a checkpoint runs, whatever it asks for; what is harmless is read."""

from __future__ import annotations

import argparse
import enum
import functools
import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from exdiff.checkpoints.interop import read_checkpoint
from exdiff.checkpoints.interop.archive import read_tensors
from exdiff.checkpoints.interop.pickles import StandIn, Stored
from exdiff.core.errors import CheckpointError


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def archive(path, pickled, extra=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled)
        for name in extra:
            file.writestr(f"model/{name}", b"")
    return path


@pytest.fixture
def trap(tmp_path):
    """A file that appears if anything has run, and calls that would make it."""
    target = tmp_path / "ran"
    text = f"__import__('pathlib').Path({str(target)!r}).touch()"
    yield target, text
    assert not target.exists()


def attacks(target, text):
    shell = f"touch {target}"
    # `getattr(os, "system")(...)`: the function itself is the result of a call.
    nested = b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x86R"
    nested += b"X" + len(shell).to_bytes(4, "little") + shell.encode() + b"\x85R."
    inner = pickle.dumps(Call(os.system, shell), 2)
    return {
        "os.system": pickle.dumps({"state_dict": Call(os.system, shell)}, 2),
        "posix.system": b"cposix\nsystem\nX" + len(shell).to_bytes(4, "little") + shell.encode() + b"\x85R.",
        "eval": pickle.dumps({"hyper_parameters": Call(eval, text)}, 2),
        "exec": pickle.dumps(Call(exec, text), 4),
        "python 2 eval": b"\x80\x02c__builtin__\neval\nX" + len(text).to_bytes(4, "little") + text.encode() + b"\x85R.",
        "nested": nested,
        "in the arguments of a tensor": pickle.dumps(Call(torch._utils._rebuild_tensor_v2, Call(eval, text)), 2),
        "in a container": pickle.dumps(OrderedDict(a=[{"b": (Call(eval, text),)}]), 2),
        "as a key": pickle.dumps({Call(eval, text): 1}, 2),
        "as a state": pickle.dumps(Call(OrderedDict, state={"x": Call(eval, text)}), 2),
        "partial": pickle.dumps(Call(functools.partial, eval, text), 2),
        "pickle in a pickle": pickle.dumps(Call(pickle.loads, inner), 2),
        "old instance": b"(X" + len(text).to_bytes(4, "little") + text.encode() + b"ibuiltins\neval\n.",
        "object": b"(cbuiltins\neval\nX" + len(text).to_bytes(4, "little") + text.encode() + b"o.",
        "torch.load": pickle.dumps(Call(torch.load, str(target)), 2),
        "a foreign function": b"csomewhere.deep\nrun\n)R.",
        "a changed reader": b"ctorch._utils\n_rebuild_parameter\n}b.",
        "the result of a call": b"csomewhere\nThing\n)R)R.",
    }


ATTACKS = list(attacks("t", "t"))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_nothing_runs(name, trap, tmp_path):
    path = archive(tmp_path / "evil.ckpt", attacks(*trap)[name])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text
    if name != "the result of a call":
        assert "is refused: it asks for" in text and "nothing was run" in text
    assert "evil.ckpt" in text


def test_the_attacks_are_real(trap, tmp_path):
    """Python's own reader runs them, so the test above can fail."""
    target, text = trap
    for name in ("os.system", "eval", "nested", "python 2 eval"):
        pickle.loads(attacks(target, text)[name])
        assert target.exists(), name
        target.unlink()


def test_a_trap_in_an_importable_module_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "trapmodule.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = archive(tmp_path / "x.ckpt", b"}X\x01\x00\x00\x00actrapmodule\nThing\n)Rs.")
    assert read_checkpoint(path)["a"] == {}
    assert "trapmodule" not in sys.modules


class Colour(enum.Enum):
    RED = 1

    def __reduce_ex__(self, protocol):  # Python 3.11.0 to 3.11.3 pickle an enum by `getattr`, which is refused
        return Colour, (self.value,)


def test_plain_things_come_back_and_foreign_ones_become_stand_ins(tmp_path, monkeypatch):
    foreign = types.ModuleType("foreign")
    foreign.Thing = type("Thing", (), {"__module__": "foreign"})
    monkeypatch.setitem(sys.modules, "foreign", foreign)
    thing = foreign.Thing()
    thing.speed = 3
    plain = {"a": [1, 2.5, None, True, "x", b"y", (1,), {2}, frozenset({3}), 1 + 2j], "o": OrderedDict(b=1)}
    foreign_ones = {
        "thing": thing,
        "class": foreign.Thing,
        "path": Path("x"),
        "space": argparse.Namespace(lr=1),
        "many": defaultdict(list, k=[1]),
        "number": np.float64(1.5),
        "device": torch.device("cpu"),
        "colour": Colour.RED,
    }
    for protocol in (2, 4, 5):
        path = archive(tmp_path / "x.ckpt", pickle.dumps({**plain, **foreign_ones, "t": torch.float16}, protocol))
        table = read_checkpoint(path)
        assert {key: table[key] for key in plain} == plain
        assert table["t"] is torch.float16
        assert table["thing"] == {"speed": 3} and table["space"] == {"lr": 1} and table["many"] == {"k": [1]}
        for key in foreign_ones.keys() - {"class"}:
            assert isinstance(table[key], StandIn), key
        assert table["class"] is not foreign.Thing and issubclass(table["class"], StandIn)


def test_tensors_of_all_kinds(tmp_path):
    base = torch.arange(12.0)
    tensors = {
        "float": base.reshape(3, 4).T,
        "view": base[2:7:2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(2, 2, dtype=torch.float16),
        "bf16": torch.ones(3, dtype=torch.bfloat16),
        "long": torch.tensor(5),
        "complex": torch.ones(2, dtype=torch.complex64),
        "empty": torch.zeros(0, 3),
    }
    torch.save(tensors, tmp_path / "x.pt")
    stored = read_checkpoint(tmp_path / "x.pt")
    assert all(isinstance(value, Stored) for value in stored.values())
    for key, value in read_tensors(tmp_path / "x.pt", stored).items():
        assert torch.equal(value, tensors[key].detach()) and value.dtype == tensors[key].dtype, key


@pytest.mark.parametrize(
    "change", [{"offset": 99}, {"size": (10**9,)}, {"stride": (99,)}, {"count": 3}, {"name": "x/data/9"}]
)
def test_a_tensor_beyond_its_storage_is_damage(tmp_path, change):
    torch.save({"a": torch.ones(4)}, tmp_path / "x.pt")
    entry = read_checkpoint(tmp_path / "x.pt")["a"]
    with pytest.raises(CheckpointError, match="x.pt is damaged at a"):
        read_tensors(tmp_path / "x.pt", {"a": Stored(**{**vars(entry), **change})})


def test_other_formats_and_damage_are_named(tmp_path):
    def refused(data: bytes | None, match: str) -> None:
        if data is not None:
            (tmp_path / "x.ckpt").write_bytes(data)
        with pytest.raises(CheckpointError, match=match):
            read_checkpoint(tmp_path / "x.ckpt")

    old = io.BytesIO()
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    refused(old.getvalue(), "a bare pickle of PyTorch before 1.6, which cannot be read safely; save it again")
    refused(b"\0" * 257 + b"ustar" + b"\0" * 300, "a tar archive of PyTorch before 0.4")
    refused(b"RIFF....", "it is not a zip archive")
    refused(b"", "it is not a zip archive")
    archive(tmp_path / "x.ckpt", pickle.dumps({}), extra=["constants.pkl"])
    refused(None, "TorchScript")
    archive(tmp_path / "x.ckpt", pickle.dumps([1]))
    refused(None, "holds a list, not the table")
    archive(tmp_path / "x.ckpt", pickle.dumps({"a": 1})[:-3])
    refused(None, "x.ckpt is damaged")
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as file:
        file.writestr("other.txt", "x")
    refused(None, "it has no data.pkl")
    (tmp_path / "x.ckpt").unlink()
    refused(None, "cannot be read: No such file")
