"""Checkpoints as torch.save writes them: a zip archive of raw tensors and one pickle, which `pickles.py` reads safely.

Formats: the archive of PyTorch 1.6 (2020) and later. Older ones (a bare pickle, a tar archive) and TorchScript are
refused by name. torch.save never compresses, so compressed members are refused too: no more is read than the file
holds, whatever sizes it declares.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exdiff.checkpoints.interop.pickles import Refused, Stored, read_pickle
from exdiff.core.errors import CheckpointError

_LARGEST_PICKLE = 2**24  # bytes; the tensors are not in it, and each byte can become an object of 60
# EOFError: a member that is cut off. ArithmeticError, TypeError: sizes that are not sensible numbers.
_DAMAGE = (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, EOFError, OSError, zipfile.BadZipFile)


def read_tensors(path: Path, stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Only the wanted tensors of a checkpoint, which may hold several times as much.

    Raises:
        CheckpointError: the file does not hold them, or together they would be larger than the file.
    """
    name = ""
    tensors: dict[str, Tensor] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            # Members that overlap, or tensors that share their numbers, could exceed the file without limit.
            unread = unmade = path.stat().st_size
            by_storage = sorted(stored, key=lambda key: stored[key].name)
            for storage, names in groupby(by_storage, key=lambda key: stored[key].name):
                data = None
                for name in names:
                    if data is None:
                        data = bytearray(_read_member(archive, storage, unread))
                        unread -= len(data)
                    tensors[name] = _view(data, stored[name], unmade)
                    unmade -= tensors[name].nbytes
    except _DAMAGE as error:
        raise CheckpointError(f"{path} is damaged at {name}: {_line(error)}") from None
    return {name: tensors[name] for name in stored}


def _read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of an uncompressed member, at most `most`; nothing is read or allocated for a larger one."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{name} is compressed, which torch.save never does; give the file as it was saved")
    if info.file_size > most:
        raise ValueError(f"{name} claims {info.file_size} bytes, at most {most} are allowed")
    with archive.open(info) as member:
        return member.read(info.file_size + 1)  # one more reaches the end, where the checksum is verified


def _view(data: bytearray, entry: Stored, most: int) -> Tensor:
    # A tensor larger than its storage repeats numbers, without limit: no weights do.
    if len(data) != entry.count * entry.dtype.itemsize or prod(entry.size) > entry.count:
        raise ValueError("the tensor and its storage disagree in size")
    if prod(entry.size) * entry.dtype.itemsize > most:
        raise ValueError("the tensors up to it are larger than the file")
    if not data:
        return torch.empty(entry.size, dtype=entry.dtype)
    return torch.frombuffer(data, dtype=entry.dtype).as_strided(entry.size, entry.stride, entry.offset).clone()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The table in a checkpoint, with `Stored` in place of tensors and `StandIn` in place of foreign objects.

    Raises:
        CheckpointError: another format, damage, or a pickle that tries to run something. Nothing was run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            table = _load(path, archive)
    except Refused as error:
        raise CheckpointError(
            f"{path} is refused: it asks for {error}, and a checkpoint holds tensors and plain values only; "
            "nothing was run, do not trust this file"
        ) from None
    except zipfile.BadZipFile:
        raise CheckpointError(f"{path}: {_other_format(path)}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise CheckpointError(f"{path} is damaged: {kind}{_line(error)}") from None
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} holds a {type(table).__name__}, not the table of a checkpoint")
    return table


def _load(path: Path, archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(found) != 1:
        raise CheckpointError(f"{path} is a zip archive, but torch.save did not write it: it has no data.pkl")
    root = found[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise CheckpointError(
            f"{path} is a TorchScript archive, which holds code; give the checkpoint that it was made from"
        )
    if f"{root}byteorder" in names and _read_member(archive, f"{root}byteorder", 16) != sys.byteorder.encode():
        raise CheckpointError(f"{path} was written on a machine with another byte order; save it again on this one")
    return read_pickle(_read_member(archive, found[0], _LARGEST_PICKLE), root)


def _other_format(path: Path) -> str:
    try:
        with path.open("rb") as file:
            begin = file.read(512)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if begin[257:262] == b"ustar":
        kind = "a tar archive of PyTorch before 0.4"
    elif begin[:1] == b"\x80":
        kind = "a bare pickle of PyTorch before 1.6"
    else:
        return "not a checkpoint from torch.save: it is not a zip archive, or it is damaged"
    return f"{kind}, which cannot be read safely; save it again with a newer PyTorch if you trust it"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
