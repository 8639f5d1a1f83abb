"""Reads a checkpoint that torch.save wrote, without running anything that is in it.

Such a file is a zip archive of raw tensors and one pickle, and a pickle is a program: it may import any function and
call it. Here the names it asks for are never imported. Plain containers and the few functions that describe tensors
are replaced by our own; any other class becomes an inert `StandIn`, which keeps what it is given and does nothing;
names out of Python's own library (os.system, builtins.eval) and calls of unknown functions are refused.

Formats: the zip archive of PyTorch 1.6 (2020) and later. Older ones (a bare pickle, a tar archive) and TorchScript
are refused by name.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exdiff.errors import CheckpointError

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
# Roots that a checkpoint has no business to call into, beside the standard library.
_DANGEROUS = frozenset(sys.stdlib_module_names) | {"__builtin__", "copy_reg", "nt", "posix", "pip", "setuptools"}
# Classes of the standard library that settings are made of: they become stand-ins like foreign ones.
_HARMLESS = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid"}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
# Classes and describing functions whose names look like those of functions.
_LOWERCASE = {("torch", "device"), ("numpy", "dtype"), ("collections", "defaultdict"), ("collections", "deque")} | {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")
}


# Named, not called: the default of a table, the base that `copyreg._reconstructor` is told.
_BASES = {
    (builtins, name)
    for builtins in ("builtins", "__builtin__")
    for name in ("object", "list", "dict", "tuple", "int", "float", "bool", "str", "bytes", "long", "unicode")
}


class Refused(Exception):
    """What a pickle asked for is not given to it."""


class _Inert(type):
    """Metaclass of the stand-ins: calling one makes an empty instance and runs no constructor."""

    callable_name = True

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not cls.callable_name:
            raise Refused(f"a call of {cls.__module__}.{cls.__name__}")
        return dict.__new__(cls)  # type: ignore[call-overload]


class StandIn(dict[Any, Any], metaclass=_Inert):
    """Instance of a class that was not imported: a table of what it was filled with."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.update(state)

    def append(self, item: Any) -> None:
        """Take part in nothing."""

    def extend(self, items: Any) -> None:
        """Take part in nothing."""


@dataclass(frozen=True)
class Stored:
    """A tensor that is still in the file.

    Attributes:
        name: where its numbers are in the archive.
        dtype, count: what and how many there are.
        offset, size, stride: which of them are its own, in items.
    """

    name: str
    dtype: torch.dtype
    count: int
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        raise Refused("a change of where a tensor is")


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
        return _Reader(file, root).load()


class _Reader(pickle.Unpickler):
    """The unpickler: what a name stands for is decided in `find_class`, without importing it."""

    def __init__(self, file: Any, root: str) -> None:
        super().__init__(file, encoding="utf-8")
        self.root = root

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        own = _OWN.get((module_name, global_name))
        if own is not None:
            return own
        top = module_name.split(".")[0]
        if top == "torch" and global_name in _STORAGES:
            return _STORAGES[global_name]
        if module_name == "torch" and global_name in _DTYPES:
            return _DTYPES[global_name]
        if top in _DANGEROUS and top not in _HARMLESS and (top, global_name) not in _BASES:
            raise Refused(f"{module_name}.{global_name}")
        name = global_name.rpartition(".")[2]
        # By convention, classes have a capital; an unknown function may be named, but not called.
        callable_name = name.lstrip("_")[:1].isupper() or (module_name, global_name) in _LOWERCASE
        return _Inert(name, (StandIn,), {"__module__": module_name, "callable_name": callable_name})

    def persistent_load(self, pid: Any, /) -> Stored:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise Refused(f"a storage of an unknown kind, {kind!r}")
        return Stored(f"{self.root}data/{key}", dtype, int(count))


def _rebuild_tensor(storage: Stored, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Stored:
    if not isinstance(storage, Stored) or min((0, offset, *size, *stride)) < 0:
        raise ValueError("a tensor without a storage, or of negative size")
    return Stored(storage.name, storage.dtype, storage.count, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: Stored, *_: Any) -> Stored:
    return data


def _reconstructor(cls: Any, *_: Any) -> StandIn:
    """Stands for copyreg's function, by which old protocols make instances of a class."""
    if not isinstance(cls, _Inert):
        raise Refused("an object of an unknown kind")
    return cls()


def _latin1(text: str, *_: Any) -> bytes:
    """Stands for _codecs.encode, by which protocol 2 writes bytes."""
    return str.encode(text, "latin-1")


class _Own:
    """One of the functions above, closed: a pickle may call it, not change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise Refused("a change of the function that reads it")


_OWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _Own(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Own(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Own(_rebuild_parameter),
    ("_codecs", "encode"): _Own(_latin1),
    **{(copyreg, "_reconstructor"): _Own(_reconstructor) for copyreg in ("copyreg", "copy_reg")},
    **{
        (builtins, kind.__name__): kind
        for builtins in ("builtins", "__builtin__")
        for kind in (set, frozenset, complex, bytearray)
    },
}


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
