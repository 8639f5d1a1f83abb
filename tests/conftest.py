"""What tests of several parts need: a TensorFlow checkpoint, written as TensorFlow does."""

from __future__ import annotations

import os
import signal

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("exdiff", database=None)  # its folder cannot be made in a read-only source tree
hypothesis.settings.load_profile("exdiff")
# Choices of whoever runs the tests, which would change what is tested; processes that tests start inherit the rest.
for _choice in ("EXDIFF_DEBUG", "EXDIFF_PRECISION"):
    os.environ.pop(_choice, None)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Each key without what it shares with the one before; one restart; no compression; a checksum nobody reads."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + bytes(4) + (1).to_bytes(4, "little") + b"\0crc!"


@pytest.fixture(scope="session")
def bundle():
    """`bundle({name: array}, ...)` -> content of NAME.index and of NAME.data-00000-of-00001."""

    def write(tensors, *, shards=1, endian=0, entry_fields=b"", per_block=7):
        entries, data = [(b"", field(1, shards) + field(2, endian) + field(3, field(1, 1)))], b""
        for name in sorted(tensors):
            array = np.asarray(tensors[name])
            shape = b"".join(field(2, field(1, size)) for size in array.shape)
            kind = {"f": 1, "i": 9, "d": 2}[array.dtype.char if array.dtype.kind == "f" else array.dtype.kind]
            content = array.tobytes("C")
            place = field(4, len(data)) * bool(data) + field(5, len(content))
            checksum = varint(6 << 3 | 5) + b"sum!"
            entries.append((name.encode(), field(1, kind) + field(2, shape) + place + checksum + entry_fields))
            data += content
        table, places = b"", []
        for start in range(0, len(entries), per_block):
            part = block(entries[start : start + per_block])
            places.append((entries[start][0] + b"~", varint(len(table)) + varint(len(part) - 5)))
            table += part
        about = block([])
        footer = varint(len(table)) + varint(len(about) - 5)
        top = block(places)
        footer += varint(len(table) + len(about)) + varint(len(top) - 5)
        magic = bytes.fromhex("57fb808b247547db")
        return table + about + top + footer.ljust(40, b"\0") + magic, data

    return write


@pytest.fixture(scope="session", autouse=True)
def _signals_end_processes():
    """Also where the suite is started by `nohup` or in the background of a script: children inherit what is ignored."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one is unknown on Windows
    present = [getattr(signal, name) for name in names if hasattr(signal, name)]
    ignored = [number for number in present if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
