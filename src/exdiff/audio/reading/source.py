"""What every decoder offers, and the file windows they read through.

A source gives the samples of one audio stream in order, once: int32 values where the file holds integers, float32
elsewhere. `AudioReader` turns them into blocks of the size and kind asked for.
"""

from __future__ import annotations

import io
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from exdiff.audio.info import AudioInfo
from exdiff.core.errors import AudioError

MAX_BLOCK = 1 << 21  # samples over all channels; bounds memory when a header gives an absurd rate or channel count
_PIPE_HEAD = 1 << 16  # bytes
_IN_MEMORY = 1 << 20  # bytes of a pipe that need no file
# What is decoded exactly as it comes: WAV, W64 and FLAC. The length of all else stands at its end, or is to be counted.
_STREAMED = (b"RIFF", b"RF64", b"BW64", b"riff", b"fLaC")
RATES = (1000, 1_536_000)  # Hz; a rate outside is a damaged header
MAX_CHANNELS = 1024


class Source(ABC):
    """One audio stream that is being decoded.

    Attributes:
        info: properties; `frames` is exact or None.
        notes: one line about each choice, and about everything left out or put in.
        missing: (start, length) in seconds of what could not be decoded; only filled in salvage mode.
        start: time stamp of the first sample in the container's clock, in seconds.
        seconds: about the length, if the container says it.
    """

    info: AudioInfo
    notes: list[str]
    missing: list[tuple[float, float]]
    start: float = 0.0
    seconds: float | None = None

    @abstractmethod
    def native(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks [C, T] of about `frames` samples: int32 if `info.bits`, else float32."""

    @abstractmethod
    def close(self) -> None:
        """Release the file."""


class Window(io.RawIOBase):
    """A read-only file: `head`, followed by bytes `start` to `end` of `file`.

    Example:
        >>> Window(io.BytesIO(b"0123456789"), 2, 6, b"ab").read()
        b'ab2345'
    """

    def __init__(self, file: BinaryIO, start: int, end: int, head: bytes = b"") -> None:
        self._file, self._start, self._head = file, start, head
        self._size, self._at = len(head) + max(0, end - start), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        if self._at < len(self._head):
            data = self._head[self._at : self._at + wanted]
        else:
            self._file.seek(self._start + self._at - len(self._head))
            data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Counter(io.RawIOBase):
    """A stream whose bytes are counted.

    Attributes:
        count: bytes that were read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.count = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        data = self._file.read(len(buffer))
        self.count += len(data)
        buffer[: len(data)] = data
        return len(data)


def window(file: BinaryIO, start: int, end: int, head: bytes = b"") -> BinaryIO:
    """`Window`, as the type that libraries take."""
    return cast(BinaryIO, Window(file, start, end, head))


class Pipe(io.RawIOBase):
    """A stream that cannot seek, whose first bytes may be looked at before they are read.

    Attributes:
        head: the first bytes.
        whole: whether they are all.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, parts, size = file, [], 0
        while size < _PIPE_HEAD and (data := file.read(_PIPE_HEAD - size)):
            parts.append(data)
            size += len(data)
        self.head, self._at = b"".join(parts), 0
        self.whole = size < _PIPE_HEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        data = self.head[self._at : self._at + len(buffer)] or self._file.read(len(buffer))
        self._at += len(data)
        buffer[: len(data)] = data
        return len(data)


def at_hand(file: BinaryIO) -> BinaryIO:
    """`file` if it can seek; of a pipe a `Pipe`, or, where the decoder has to seek, a temporary file with all of it.

    The caller closes what is not `file` itself.
    """
    if seekable(file):
        return file
    pipe = Pipe(file)
    if not pipe.whole and pipe.head.startswith(_STREAMED):
        return cast(BinaryIO, pipe)
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - it outlives this function
    try:
        while data := pipe.read(_PIPE_HEAD):
            copy.write(data)
    except BaseException:
        copy.close()
        raise
    return copy


def seekable(file: BinaryIO) -> bool:
    """Whether `file` can go back; a pipe cannot."""
    try:
        return file.seekable()
    except (AttributeError, OSError, ValueError):
        return False


def file_size(file: BinaryIO) -> int:
    """Bytes in a seekable file."""
    return file.seek(0, os.SEEK_END)


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Up to `size` bytes from `offset`; none from an offset that a damaged header gives and no file has."""
    if not 0 <= offset < 1 << 62:
        return b""
    file.seek(offset)
    return file.read(size)


def open_input(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        AudioError: missing, a folder, empty, or not to be opened.
    """
    try:
        if path.is_dir():
            raise AudioError(f"{path}: a folder, not an audio file")
        if path.is_file() and path.stat().st_size == 0:
            raise AudioError(f"{path}: empty (0 bytes); an audio or video file is needed")
        return path.open("rb")
    except FileNotFoundError as error:
        raise AudioError(f"{path}: does not exist") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error


def check_header(name: str, sample_rate: int, channels: int) -> None:
    """Raise AudioError if a header's sample rate or number of channels cannot be true."""
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise AudioError(f"{name}: damaged header: a rate of {sample_rate} Hz; {RATES[0]} to {RATES[1]} are allowed")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: damaged header: {channels} channels; 1 to {MAX_CHANNELS} are allowed")
