"""What is read of an archive is never larger than the file, whatever its sizes claim."""

from __future__ import annotations

import pickle
import struct
import tracemalloc
import zipfile

import pytest
import torch

from exdiff.checkpoints.interop import read_checkpoint
from exdiff.checkpoints.interop.archive import read_tensors
from exdiff.checkpoints.interop.pickles import Stored
from exdiff.core.errors import CheckpointError

MEGABYTE = 2**20
PLAIN = pickle.dumps({"a": 1}, 2)


@pytest.fixture
def peak():
    """`peak(function, ...)` -> most bytes of Python objects during a call that must be refused, and its message."""

    def measure(function, *arguments):
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError) as caught:
                function(*arguments)
            return tracemalloc.get_traced_memory()[1], str(caught.value)
        finally:
            tracemalloc.stop()

    return measure


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"model/{name}", content)
    return path


def lie(path, name, size, *, compressed_size=None):
    """Have the local header and the directory's entry of a member claim other sizes."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"model/{name}")
    data = bytearray(path.read_bytes())
    sizes = struct.pack("<II", info.compress_size if compressed_size is None else compressed_size, size)
    entry = data.rindex(b"PK\x01\x02", 0, data.rindex(info.filename.encode()))
    for at in (info.header_offset + 18, entry + 20):
        data[at : at + 8] = sizes
    path.write_bytes(data)


def storage(name, count=4, size=None, stride=(1,), dtype=torch.float32):
    return Stored(f"model/data/{name}", dtype, count, size=(count,) if size is None else size, stride=stride)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["data.pkl", "byteorder"])
def test_a_compressed_member_is_refused_before_it_is_inflated(tmp_path, peak, compression, member):
    members = {"data.pkl": PLAIN, member: bytes(64 * MEGABYTE)}
    path = write(tmp_path / "bomb.ckpt", members, compression)
    assert path.stat().st_size < MEGABYTE
    used, message = peak(read_checkpoint, path)
    assert used < 4 * MEGABYTE
    assert "is compressed, which torch.save never does" in message and "\n" not in message


@pytest.mark.parametrize("claimed", [16, 64 * MEGABYTE, 2**32 - 2])
def test_zeros_behind_a_tensor_are_not_inflated_whatever_is_claimed(tmp_path, peak, claimed):
    path = write(tmp_path / "bomb.ckpt", {"data/0": bytes(64 * MEGABYTE)}, zipfile.ZIP_DEFLATED)
    lie(path, "data/0", claimed)
    used, message = peak(read_tensors, path, {"a": storage(0, 16 * MEGABYTE)})
    assert used < 4 * MEGABYTE
    assert message.startswith(f"{path} is damaged at a: model/data/0 is compressed")


@pytest.mark.parametrize("claimed", [96, 64 * MEGABYTE, 2**32 - 2])
def test_a_stored_member_that_claims_more_than_the_file(tmp_path, peak, claimed):
    path = write(tmp_path / "x.ckpt", {"data/0": bytes(16), "data.pkl": PLAIN})
    for name in ("data/0", "data.pkl"):
        lie(path, name, claimed, compressed_size=claimed)
    for function, rest in ((read_tensors, [{"a": storage(0, claimed // 4)}]), (read_checkpoint, [])):
        used, message = peak(function, path, *rest)
        assert used < 4 * MEGABYTE
        assert "is damaged" in message


def test_a_member_that_claims_less_than_it_holds(tmp_path, peak):
    path = write(tmp_path / "x.ckpt", {"data/0": torch.arange(4.0).numpy().tobytes()})
    lie(path, "data/0", 8, compressed_size=8)
    _, message = peak(read_tensors, path, {"a": storage(0, 2)})
    assert "Bad CRC-32" in message


def test_a_huge_pickle_is_not_read(tmp_path, peak):
    path = write(tmp_path / "x.ckpt", {"data.pkl": bytes(17 * MEGABYTE)})
    used, message = peak(read_checkpoint, path)
    assert used < 4 * MEGABYTE
    assert "model/data.pkl claims 17825792 bytes, at most 16777216 are allowed" in message


def test_many_members_over_the_same_bytes(tmp_path, peak):
    """Each fits into the file; together they do not."""
    count = MEGABYTE // 4
    path = write(tmp_path / "x.ckpt", {f"data/{i:04}": b"" if i else bytes(MEGABYTE) for i in range(200)})
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("model/data/0000")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for _ in range(200):
        data[at + 16 : at + 28] = struct.pack("<III", first.CRC, MEGABYTE, MEGABYTE)
        data[at + 42 : at + 46] = struct.pack("<I", first.header_offset)
        at += 46 + len("model/data/0000")
    path.write_bytes(data)
    used, message = peak(read_tensors, path, {f"t{i}": storage(f"{i:04}", count) for i in range(200)})
    assert used < 8 * MEGABYTE
    assert "x.ckpt is damaged at t1: " in message


def test_many_tensors_over_one_storage(tmp_path, peak):
    path = write(tmp_path / "x.ckpt", {"data/0": bytes(MEGABYTE)})
    _, message = peak(read_tensors, path, {f"t{i}": storage(0, MEGABYTE // 4) for i in range(200)})
    assert "is damaged at t1: the tensors up to it are larger than the file" in message


def test_tensors_of_one_storage_are_read_once_and_keep_their_order(tmp_path, monkeypatch):
    path = write(tmp_path / "x.ckpt", {"data/0": torch.arange(8.0).numpy().tobytes(), "data/1": bytes(16)})
    opened = []
    original = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, name, *a: opened.append(name) or original(self, name, *a))
    stored = {"z": storage(0, 8, (2,), (2,)), "m": storage(1), "a": storage(0, 8, (3,))}
    tensors = read_tensors(path, stored)
    assert list(tensors) == ["z", "m", "a"]
    assert tensors["z"].tolist() == [0, 2] and tensors["a"].tolist() == [0, 1, 2]
    assert len(opened) == 2


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02}r\xff\xff\xff\x0f.",  # LONG_BINPUT: 4 GB of places
        b"}p268435455\n.",  # the same, as text
        b"\x80\x04\x8e" + struct.pack("<Q", 2**33) + b"x.",  # BINBYTES8
        b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.",  # BYTEARRAY8
    ],
    ids=["place", "text place", "bytes", "bytearray"],
)
def test_a_pickle_that_claims_memory(tmp_path, peak, pickled):
    path = write(tmp_path / "x.ckpt", {"data.pkl": pickled})
    used, message = peak(read_checkpoint, path)
    assert used < 4 * MEGABYTE
    assert "x.ckpt is damaged: " in message


@pytest.mark.parametrize("stored", [storage(0, 4, (1.5,)), storage(0, 4, (2**70,)), storage(0, 4, (2,), (2**70,))])
def test_sizes_that_are_no_sizes(tmp_path, stored):
    path = write(tmp_path / "x.ckpt", {"data/0": bytes(16)})
    with pytest.raises(CheckpointError, match="x.ckpt is damaged at a"):
        read_tensors(path, {"a": stored})


def test_what_is_no_file_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path)
