"""Live sound from one place to another, and what to do when time runs out; pipes of raw PCM."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from exdiff.cli.enhancing.options import PIPE, RAW_FORMATS, RawFormat
from exdiff.core.errors import ConfigError

if TYPE_CHECKING:
    import io

    from exdiff.cli.enhancing.pipes import PipeWriter
    from exdiff.inference.live import Live

Clock = Callable[[], float]

_CHUNK_SECONDS = 0.02  # at most at a time: what is decided for a chunk holds for all of it
_AHEAD_SECONDS = 5.0  # a pipe that gives so much more than time has passed is not live
_HELD_SECONDS = 8.0  # of input that may wait; more stays where it comes from
_LEAST_SECONDS = 0.25  # of letting through
_SETTLING_SECONDS = 1.0  # until one knows which kind of pipe it is


class Pace:
    """Decides from chunk to chunk whether a stream has to let its input through to keep up, and keeps count.

    Args:
        bound: seconds that a chunk may have waited. Letting through begins beyond it and ends below half of it, but
            lasts a quarter of a second at least: going back and forth would flutter.

    Attributes:
        moments: how often it began.
        seconds: of the input that were let through.

    Example:
        >>> pace = Pace(0.1)
        >>> [pace.behind(waited, 0.2) for waited in (0.09, 0.11, 0.01, 0.04, 0.09)], pace.moments, pace.seconds
        ([False, True, True, False, False], 1, 0.4)
    """

    def __init__(self, bound: float) -> None:
        self.bound, self.moments, self.seconds = bound, 0, 0.0
        self._lasted = 0.0  # this moment; 0 outside

    def behind(self, waited: float, seconds: float) -> bool:
        """Whether a chunk of so many seconds, which waited so long, is let through."""
        if waited > self.bound or (self._lasted and (waited > self.bound / 2 or self._lasted < _LEAST_SECONDS)):
            self.moments += not self._lasted
            self.seconds += seconds
            self._lasted += seconds
            return True
        self._lasted = 0.0
        return False


class Source(Protocol):
    """Chunks, float32 [C, n], with the time at which each arrived."""

    @property
    def realtime(self) -> bool:
        """Whether the sound is being made now, and does not wait for whoever is slow."""
        ...

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]: ...


class Sink(Protocol):
    """Takes chunks, float32 [C, n]."""

    def write(self, block: np.ndarray) -> None: ...


def drive(
    live: Live,
    rate: int,
    source: Source,
    sink: Sink,
    pace: Pace | None,
    tell: Callable[[str], None],
    clock: Clock = time.monotonic,
) -> None:
    """Everything from the source through the stream into the sink.

    Whenever a chunk has waited too long, the input is let through; `tell` hears of it at most once a second. Without a
    `pace` everything is computed, however late.
    """
    told = float("-inf")
    full = False  # the sink: then it has more than it needs, and nothing is late
    for arrived, chunk in source:
        seconds = chunk.shape[1] / rate
        waited = clock() - arrived if source.realtime and not full else 0.0
        behind = pace is not None and pace.behind(waited, seconds)
        block = live.process(chunk, bypass=behind)
        start = clock()
        sink.write(block)
        now = clock()
        full = now - start > seconds / 2
        if pace is not None and behind and now >= told + 1:
            tell(f"cannot keep up: {pace.seconds:.1f} s of the input passed through so far (moments: {pace.moments})")
            told = now
    rest = cast("np.ndarray | None", live.flush())  # like the chunks
    if rest is not None:
        sink.write(rest)


class Reader:
    """Raw PCM, read ahead by a thread, so that one knows how long it has been waiting.

    Args:
        read: blocks, and gives bytes; none at the end.
        form: of the PCM.
        device: it is live for sure. A pipe is live unless it gives sound faster than time passes.
        clock: seconds.
    """

    def __init__(
        self, read: Callable[[], bytes], form: RawFormat, *, device: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self._read, self._form, self._device, self._clock = read, form, device, clock
        self._frame = int(RAW_FORMATS[form.name][0][-1]) * form.channels  # bytes
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._held = self._total = 0  # bytes
        self._start: float | None = None
        self._ended = self._fast = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def realtime(self) -> bool:
        if self._device or self._ended or self._fast or self._start is None:
            return self._device and not self._ended
        return self._clock() > self._start + _SETTLING_SECONDS

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        threading.Thread(target=self._work, name="exdiff-live", daemon=True).start()
        most = max(1, round(_CHUNK_SECONDS * self._form.rate)) * self._frame
        rest = b""
        while (piece := self._next(most - len(rest))) is not None:
            arrived, data = piece
            data = rest + data
            whole = len(data) - len(data) % self._frame
            rest = data[whole:]
            if whole:
                yield arrived, unpack(data[:whole], self._form)

    def _next(self, most: int) -> tuple[float, bytes] | None:
        """The bytes that have waited longest, at most so many, and since when; None at the end."""
        with self._changed:
            while not self._pieces and not self._ended:
                self._changed.wait(0.5)  # without an end, Ctrl-C would not be heard on Windows
            if not self._pieces:
                if self._error is not None:
                    raise self._error
                return None
            arrived, data = self._pieces.popleft()
            if len(data) > most:
                self._pieces.appendleft((arrived, data[most:]))
            self._held -= len(data[:most])
            self._changed.notify()
            return arrived, data[:most]

    def _work(self) -> None:
        second = self._form.rate * self._frame
        try:
            while data := self._read():
                now = self._clock()
                with self._changed:
                    self._start = now if self._start is None else self._start
                    self._pieces.append((now, data))
                    self._held, self._total = self._held + len(data), self._total + len(data)
                    self._fast |= self._total / second > now - self._start + _AHEAD_SECONDS
                    self._changed.notify()
                    while self._held > _HELD_SECONDS * second:
                        self._changed.wait()
        except BaseException as error:  # it is raised where the chunks are read
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()


def unpack(data: bytes, form: RawFormat) -> np.ndarray:
    """Raw PCM -> float32 [C, n].

    Example:
        >>> unpack(bytes([0, 0, 128, 0, 0, 64]), RawFormat("s24le", 8000, 2)).tolist()
        [[-1.0], [0.5]]
    """
    dtype, bits = RAW_FORMATS[form.name]
    if bits == 24:
        octets = np.frombuffer(data, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(octets), 4), np.uint8)
        wide[:, 1:] = octets if dtype[0] == "<" else octets[:, ::-1]
        samples, bits = wide.view("<i4")[:, 0], 32
    else:
        samples = np.frombuffer(data, dtype)
    audio = samples.astype(np.float64)
    if bits:
        audio = (audio - (128 if dtype == "u1" else 0)) / 2.0 ** (bits - 1)
    return np.ascontiguousarray(audio.reshape(-1, form.channels).T, np.float32)


def check_pipes(reading: bool, writing: bool) -> None:
    """Raise ConfigError if standard input or output is to be used and is a terminal."""
    if reading and sys.stdin is not None and sys.stdin.isatty():
        raise ConfigError("standard input is a terminal; connect a pipe of raw PCM, or use --input DEVICE")
    if writing and sys.stdout is not None and sys.stdout.isatty():
        raise ConfigError("standard output is a terminal; connect a pipe or a file, or use --output DEVICE")


def standard_input(form: RawFormat) -> Reader:
    """Raw PCM from a pipe or a file."""
    from exdiff.cli.enhancing.pipes import open_input

    file = cast("io.FileIO", open_input(Path(PIPE)).detach())  # type: ignore[attr-defined]
    return Reader(lambda: file.read(1 << 16), form)  # a pipe gives what it has


def standard_output(form: RawFormat, stack: ExitStack) -> PipeWriter:
    """Raw PCM to a pipe or a file."""
    from exdiff.audio.info import AudioInfo
    from exdiff.cli.enhancing.pipes import PipeWriter

    info = AudioInfo(form.rate, form.channels, None, form.name)
    return stack.enter_context(PipeWriter(Path(PIPE), info, "raw", form.name))
