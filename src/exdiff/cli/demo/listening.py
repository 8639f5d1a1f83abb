"""What the page shows of a sound, taken from the streams into and out of an enhancer while a file is enhanced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from exdiff.core.stems import STEMS
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.options import CallOptions
from exdiff.inference.stream import Stream

Listener = Callable[[np.ndarray, np.ndarray], None]
MOST_SAMPLES = 24_000_000  # of one preview, all channels; a browser holds two, in float32: 192 MB
_HIGHEST_RATE, _LOWEST_RATE = 48_000, 8_000


class Overheard:
    """Streams of an enhancer, with a listener that is shown each stretch of the input together with its result.

    Sound is heard before it is encoded, so what was removed is the noise, and not what a lossy codec does to speech.

    Args:
        enhancer: that does the work.
        steps: of all calls; None for the enhancer's own.
        listener: gets float32 [C, n] of the input and of the result.
    """

    def __init__(self, enhancer: Enhancer, steps: int | None, listener: Listener) -> None:
        self._enhancer, self._steps, self._listener = enhancer, steps, listener

    def stream(self, chunks: Iterable[Any], sample_rate: int, **options: Unpack[CallOptions]) -> Stream[Any]:
        """`Enhancer.stream`."""
        return self._hear(self._enhancer.stream, lambda part: part, chunks, sample_rate, options)

    def separate_stream(self, chunks: Iterable[Any], sample_rate: int, **options: Unpack[CallOptions]) -> Stream[Any]:
        """`Enhancer.separate_stream`."""
        return self._hear(self._enhancer.separate_stream, lambda part: part[STEMS[0]], chunks, sample_rate, options)

    def _hear(
        self,
        method: Callable[..., Stream[Any]],
        result: Callable[[Any], np.ndarray],
        chunks: Iterable[np.ndarray],
        sample_rate: int,
        options: CallOptions,
    ) -> Stream[Any]:
        waiting: deque[np.ndarray] = deque()

        def passing() -> Iterator[np.ndarray]:
            for chunk in chunks:
                waiting.append(chunk)
                yield chunk

        def parts(stream: Stream[Any]) -> Iterator[Any]:
            for part in stream:
                heard = result(part)
                self._listener(_take(waiting, heard.shape[-1]), heard)
                yield part

        options["steps"] = self._steps
        stream = method(passing(), sample_rate, **options)
        return Stream(parts(stream), stream.run)


def _take(waiting: deque[np.ndarray], length: int) -> np.ndarray:
    """The next `length` samples of what waits."""
    parts = [np.zeros((waiting[0].shape[0], 0), np.float32)]
    while length:
        chunk = waiting.popleft()
        parts.append(chunk[:, :length])
        if chunk.shape[1] > length:
            waiting.appendleft(chunk[:, length:])
        length -= parts[-1].shape[1]
    return np.concatenate(parts, axis=1)


class Previews:
    """FLAC files of 16 bits of both signals for the player; use it in a `with` statement.

    A browser decodes the whole of a file. So a long one becomes mono, then loses its upper band, and ends where even
    that is too much; the results themselves are complete.

    Args:
        paths: of the two files.
        sample_rate, channels, frames: of the signals.

    Attributes:
        rate, channels: of the files.
        seconds: their length.
        smaller: whether something of the signals is missing.
    """

    def __init__(self, paths: tuple[Path, Path], sample_rate: int, channels: int, frames: int) -> None:
        self.rate, self.channels = preview_format(sample_rate, channels, frames)
        self._left = [MOST_SAMPLES // self.channels] * 2
        self.seconds = min(frames / sample_rate, self._left[0] / self.rate)
        self.smaller = channels > self.channels or min(sample_rate, _HIGHEST_RATE) > self.rate
        self._paths, self._source_rate = paths, sample_rate

    def __enter__(self) -> Previews:
        import soundfile
        import soxr

        with ExitStack() as stack:
            self._files = [
                stack.enter_context(soundfile.SoundFile(path, "w", self.rate, self.channels, "PCM_16", format="FLAC"))
                for path in self._paths
            ]
            self._closing = stack.pop_all()
        self._resamplers = [soxr.ResampleStream(self._source_rate, self.rate, self.channels) for _ in self._paths]
        return self

    def add(self, before: np.ndarray, after: np.ndarray, last: bool = False) -> None:
        """The next stretch of both signals, [C, n]."""
        for number, block in enumerate((before, after)):
            mixed = block if block.shape[0] == self.channels else block.mean(0, keepdims=True)
            samples = np.ascontiguousarray(mixed.T, np.float32)
            if self._source_rate != self.rate:
                samples = self._resamplers[number].resample_chunk(samples, last)
            samples = samples.reshape(-1, self.channels)[: self._left[number]]
            self._left[number] -= len(samples)
            self._files[number].write(samples.clip(-1, 1))

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.add(*np.zeros((2, self.channels, 0), np.float32), last=True)
        self._closing.close()


def preview_format(sample_rate: int, channels: int, frames: int) -> tuple[int, int]:
    """Rate and channels of a preview of a signal.

    Example:
        >>> preview_format(44100, 2, 44100 * 60), preview_format(96000, 6, 96000 * 60)
        ((44100, 2), (48000, 1))
        >>> preview_format(48000, 2, 48000 * 600), preview_format(48000, 2, 48000 * 7200)
        ((24000, 1), (12000, 1))
    """
    seconds = frames / sample_rate
    rate = min(sample_rate, _HIGHEST_RATE)
    if channels > 2 or channels * rate * seconds > MOST_SAMPLES:
        channels = 1
    while channels * rate * seconds > MOST_SAMPLES and rate // 2 >= _LOWEST_RATE:
        rate //= 2
    return rate, channels
