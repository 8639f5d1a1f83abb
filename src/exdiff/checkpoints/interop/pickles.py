"""The restricted unpickler: it imports nothing that a pickle names, and so runs nothing.

A pickle is a program: it can import any function and call it. Here plain containers and the few functions that describe
tensors are replaced by our own; any other class becomes an inert `StandIn`, which only stores what it is given;
names from Python's standard library (os.system, builtins.eval) and calls of unknown functions are refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

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
# Packages that no checkpoint needs to call.
_DANGEROUS = frozenset(sys.stdlib_module_names) | {"__builtin__", "copy_reg", "nt", "posix", "pip", "setuptools"}
# Modules of the standard library whose classes occur in settings: these become stand-ins, like foreign classes.
_HARMLESS = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid"}
_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
# Classes, and functions that only describe, whose names begin with a small letter.
_LOWERCASE = {("torch", "device"), ("numpy", "dtype"), ("collections", "defaultdict"), ("collections", "deque")} | {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")
}


# Named, not called: the default of a table, the base class given to `copyreg._reconstructor`.
_BASES = {
    (builtins, name)
    for builtins in ("builtins", "__builtin__")
    for name in ("object", "list", "dict", "tuple", "int", "float", "bool", "str", "bytes", "long", "unicode")
}


class Refused(Exception):
    """The pickle names something that a checkpoint does not need."""


class _Inert(type):
    """Metaclass of the stand-ins: a call makes an empty instance and runs no constructor."""

    callable_name = True

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if not cls.callable_name:
            raise Refused(f"a call of {cls.__module__}.{cls.__name__}")
        return dict.__new__(cls)  # type: ignore[call-overload]


class StandIn(dict[Any, Any], metaclass=_Inert):
    """Instance of a class that was not imported: a table of its contents."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.update(state)

    def append(self, item: Any) -> None:
        """Ignore the item."""

    def extend(self, items: Any) -> None:
        """Ignore the item."""


@dataclass(frozen=True)
class Stored:
    """A tensor that is still in the file.

    Attributes:
        name: where its numbers are in the archive.
        dtype, count: what and how many there are.
        offset, size, stride: which of them belong to this tensor, in items.
    """

    name: str
    dtype: torch.dtype
    count: int
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        raise Refused("a change of where a tensor is")


def read_pickle(data: bytes, root: str) -> Any:
    """What a checkpoint's pickle describes; `root` is the folder of its tensors in the archive.

    Raises:
        Refused: it imports or calls something that a checkpoint does not need. Nothing was run.
        Exception: any, where the pickle is damaged.
    """
    # Python before 3.14 allocates and fills memory up to the largest place that a PUT names, and lengths ahead of
    # their bytes; picklers number places one by one, and pickletools compares the lengths.
    for count, (code, place, _) in enumerate(pickletools.genops(data)):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(place, int) and place > count:
            raise ValueError(f"the pickle stores its object {count} at place {place}")
    return Reader(io.BytesIO(data), root).load()


class Reader(pickle.Unpickler):
    """The unpickler: `find_class` decides what a name stands for, without importing it."""

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
        # By convention, class names begin with a capital; an unknown function may be named, but not called.
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
    """Replaces copyreg's function, with which old protocols make instances of a class."""
    if not isinstance(cls, _Inert):
        raise Refused("an object of an unknown kind")
    return cls()


def _latin1(text: str, *_: Any) -> bytes:
    """Replaces _codecs.encode, with which protocol 2 writes bytes."""
    return str.encode(text, "latin-1")


class _Own:
    """One of the functions above; a pickle can call it, but not change it."""

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
