"""Checkpoints as torch.save writes them: a zip archive of raw tensors and one pickle, which `pickles.py` reads safely.

Formats: the archive of PyTorch 1.6 (2020) and later. Older ones (a bare pickle, a tar archive) and TorchScript are
refused by name.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exdiff.errors import CheckpointError
from exdiff.interop.pickles import Reader, Refused, Stored


def read_tensors(path: Path, stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are wanted, and no others; they may be several times as much.

    Raises:
        CheckpointError: the file does not hold them.
    """
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            tensors = {}
            for name, entry in stored.items():
                tensors[name] = _view(bytearray(archive.read(entry.name)), entry)
            return tensors
    except (KeyError, ValueError, RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged at {name}: {_line(error)}") from None


def _view(data: bytearray, entry: Stored) -> Tensor:
    # A tensor larger than its storage repeats numbers, without limit: no weights do.
    if len(data) != entry.count * entry.dtype.itemsize or prod(entry.size) > entry.count:
        raise ValueError("the tensor and its storage disagree in size")
    if not data:
        return torch.empty(entry.size, dtype=entry.dtype)
    return torch.frombuffer(data, dtype=entry.dtype).as_strided(entry.size, entry.stride, entry.offset).clone()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The table in a checkpoint, with `Stored` for tensors and `StandIn` for objects of foreign classes.

    Raises:
        CheckpointError: another format, damage, or a pickle that wants to run something. Nothing was run.
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
    except Exception as error:  # a damaged pickle fails in any way there is
        raise CheckpointError(f"{path} is damaged: {type(error).__name__}: {_line(error)}") from None
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} holds a {type(table).__name__}, not the table of a checkpoint")
    return table


def _load(path: Path, archive: zipfile.ZipFile) -> Any:
    names = archive.namelist()
    found = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(found) != 1:
        raise CheckpointError(f"{path} is a zip archive, but none that torch.save wrote: it has no data.pkl")
    root = found[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise CheckpointError(
            f"{path} is a TorchScript archive, which holds code; give the checkpoint it was made from"
        )
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != sys.byteorder.encode():
        raise CheckpointError(f"{path} was written on a machine of another byte order; save it again on one like this")
    with archive.open(found[0]) as file:
        return Reader(file, root).load()


def _other_format(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(512)
    if begin[257:262] == b"ustar":
        kind = "a tar archive of PyTorch before 0.4"
    elif begin[:1] == b"\x80":
        kind = "a bare pickle of PyTorch before 1.6"
    else:
        return "no checkpoint that torch.save wrote: it is not a zip archive, or it is damaged"
    return f"{kind}, which cannot be read safely; save it again with a newer PyTorch where you trust it"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
