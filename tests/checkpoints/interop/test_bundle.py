"""TensorFlow's checkpoints: what is written comes back, and nothing else is believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exdiff.checkpoints.interop import read_bundle, spleeter_names, spleeter_weights
from exdiff.core.errors import CheckpointError
from exdiff.model.extractors import SpleeterExtractor


def tensors(seed=0):
    draw = np.random.default_rng(seed)
    shapes = {
        "conv2d/kernel": (5, 5, 2, 3),
        "conv2d/bias": (3,),
        "conv2d_1/kernel": (1, 2),
        "scalar": (),
        "none": (0, 4),
    }
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_what_was_written_comes_back(bundle, per_block):
    wanted = tensors()
    got = read_bundle(*bundle({**wanted, "global_step": np.array(7)}, per_block=per_block))
    assert got.keys() == wanted.keys(), "the count of steps is no weight"
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].shape == value.shape


def test_other_kinds_are_refused_by_name(bundle):
    for options, match in [
        ({"shards": 2}, "single file"),
        ({"endian": 1}, "little-endian"),
        ({"entry_fields": b"\x18\x01"}, "in several pieces"),
        ({"entry_fields": b"\x3a\x00"}, "in several pieces"),
    ]:
        with pytest.raises(CheckpointError, match=match):
            read_bundle(*bundle(tensors(), **options))
    with pytest.raises(CheckpointError, match="not finite"):
        read_bundle(*bundle({"x": np.array([np.nan], np.float32)}))
    index, data = bundle(tensors())
    with pytest.raises(CheckpointError, match="does not lie within the data"):
        read_bundle(index, data[:-1])
    with pytest.raises(CheckpointError, match="is not a table"):
        read_bundle(index[:-1], data)
    with pytest.raises(CheckpointError, match="is compressed"):
        read_bundle(index.replace(b"\0crc!", b"\1crc!"), data)
    same = bundle({"a": np.ones(8, np.float32), "b": np.ones(8, np.float32)})
    with pytest.raises(CheckpointError, match="overlap"):
        read_bundle(same[0].replace(b"\x20\x20", b"\x20\x00"), same[1][:32])


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damage_is_said_in_one_line(data, bundle):
    """Any byte of the index changed, or any piece of it gone: tensors, or an error of ours, at once."""
    index, content = bundle(tensors())
    place = data.draw(st.integers(0, len(index) - 1))
    damaged = bytearray(index)
    damaged[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[place : place + data.draw(st.integers(1, 50))]
    try:
        got = read_bundle(bytes(damaged), content)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert sum(value.nbytes for value in got.values()) <= len(content)


def extractor(**options):
    return SpleeterExtractor(8000, (4, 6), n_fft=64, hop_length=16, bins=16, frames=32, **options)


def test_names_and_axes(bundle):
    """Kernels have time before frequency there; every weight of ours has a name of its own."""
    wanted = extractor()
    names = spleeter_names(depth=2)
    state = wanted.state_dict()
    assert {n for n in state if not n.endswith("num_batches_tracked")} == set(names)
    assert len(set(names.values())) == len(names)
    published = {theirs: state[ours].numpy().transpose() for ours, theirs in names.items()}
    assert published["conv2d_transpose/kernel"].shape == (5, 5, 4, 6)
    assert published["conv2d_5/kernel"].shape == (4, 4, 1, 2)
    got = spleeter_weights(*bundle(published), extractor())
    for name, value in state.items():
        assert torch.equal(got[name], value), name
    published.pop("conv2d_3/bias")
    with pytest.raises(CheckpointError, match="has no conv2d_3/bias"):
        spleeter_weights(*bundle(published), extractor())


def test_the_published_numbering():
    names = spleeter_names()
    assert len(names) == 2 * (7 * 2 + 6 * 2 + 11 * 4)
    assert names["vocals.down.0.weight"] == "conv2d/kernel"
    assert names["accompaniment.mask.weight"] == "conv2d_13/kernel"
    assert "batch_normalization_5/gamma" not in names.values(), "nothing uses what it gives"
