"""TensorFlow's checkpoints (format V2, "tensor bundle"), read without TensorFlow.

The index is a LevelDB table (sorted keys in blocks, each key sharing a prefix with the one before). Its values are
protocol buffers: a header under the empty key, and type, shape and place in the data file for each tensor. None of it
can run. Checkpoints must be in one file, little-endian and uncompressed, as TensorFlow writes them by default; others
are refused. The checksums inside are not verified.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from exdiff.core.errors import CheckpointError

_FOOTER = 48  # bytes: two places, zeros, a magic number
_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_TRAILER = 5  # bytes behind a block: type of compression, checksum
_FLOAT32 = 1
_WIDTH = {1: 8, 5: 4}  # bytes of protocol buffers' fixed-width fields


def read_bundle(index: bytes, data: bytes) -> dict[str, np.ndarray]:
    """The float32 tensors of a checkpoint by name; others, such as the step counter, are not weights.

    Args:
        index: the content of NAME.index.
        data: the content of NAME.data-00000-of-00001.

    Raises:
        CheckpointError: not such a checkpoint, an unsupported kind, or damage.
    """
    try:
        entries = dict(_entries(index))
        header = dict(_fields(entries.pop(b"", b"")))
        if header.get(1) != 1 or header.get(2, 0) != 0:
            raise ValueError("it must be a single file of little-endian numbers")
        tensors, total = {}, 0
        for key, value in entries.items():
            name, fields = key.decode("ascii"), dict(_fields(value))
            if fields.get(1) != _FLOAT32:
                continue
            tensors[name] = _tensor(name, fields, data)
            total += tensors[name].nbytes
            if total > len(data):
                raise ValueError("its tensors overlap")
    except (ValueError, IndexError, OverflowError) as error:
        raise CheckpointError(f"the TensorFlow checkpoint cannot be read: {error}") from None
    return tensors


def _entries(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(index) < _FOOTER or index[-8:] != _MAGIC:
        raise ValueError("its index is not a table, or is cut off")
    footer = _Reader(index[-_FOOTER:-8])
    footer.place()  # the block about the table itself, which is not needed
    for _, where in _block(index, *footer.place()):
        yield from _block(index, *_Reader(where).place())


def _block(index: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if start + size + _TRAILER > len(index) - _FOOTER:
        raise ValueError("a block lies beyond the end of its index")
    if index[start + size]:
        raise ValueError("its index is compressed")
    block = index[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    reader = _Reader(block[: max(0, size - 4 - 4 * restarts)])
    key = b""
    while reader.rest:
        shared, own, length = reader.number(), reader.number(), reader.number()
        if shared > len(key):
            raise ValueError("a key in its index is damaged")
        key = key[:shared] + reader.take(own)
        yield key, reader.take(length)


def _tensor(name: str, fields: dict[int, int | bytes], data: bytes) -> np.ndarray:
    shape = _fields(_bytes(fields.get(2, b"")))
    dimensions = [_whole(dict(_fields(_bytes(value))).get(1, 0)) for key, value in shape if key == 2]
    shard, start, size = (_whole(fields.get(key, 0)) for key in (3, 4, 5))
    if shard or 7 in fields:
        raise ValueError(f"{name} is in several pieces")
    if size != 4 * prod(dimensions) or start + size > len(data):
        raise ValueError(f"{name} of shape {dimensions} does not lie within the data")
    tensor = np.frombuffer(data, "<f4", size // 4, start).reshape(dimensions)
    if not np.isfinite(tensor).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return tensor


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer."""
    reader = _Reader(message)
    while reader.rest:
        tag = reader.number()
        if tag & 7 == 0:
            yield tag >> 3, reader.number()
        elif tag & 7 == 2:
            yield tag >> 3, reader.take(reader.number())
        elif tag & 7 in _WIDTH:
            yield tag >> 3, reader.take(_WIDTH[tag & 7])
        else:
            raise ValueError("a field in its index is damaged")


def _whole(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a field in its index has the wrong type")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field in its index has the wrong type")
    return value


class _Reader:
    """Reads bytes from the front, never beyond their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def rest(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.rest:
            raise ValueError("its index is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """A variable-length integer: seven bits a byte, the lowest first."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number in its index is too long")

    def place(self) -> tuple[int, int]:
        """Start and size of a block."""
        return self.number(), self.number()
