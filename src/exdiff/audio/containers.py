"""Read m4a, mp4 and every other container through FFmpeg (PyAV, imported on first use: it loads in tenths of a
second).

An MP4's edit list gives its length in units of the movie's clock, often milliseconds. The duration of its last
packet is exact, so that is what the padding is trimmed by.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exdiff.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame

_TRUNCATED_SECONDS = 0.25  # how much may lack of the length that an MP4 promises


class ContainerSource:
    """One audio stream of a container; `info` is (sample rate, channels, frames or None, codec)."""

    def __init__(self, path: Path, stream: int) -> None:
        import av
        import av.error

        self.name = str(path)
        self._error = av.error.FFmpegError
        try:
            self.container = av.open(str(path), metadata_errors="ignore")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioError(
                f"{self.name}: not an audio or video file that can be read ({_reason(error)}); "
                "wav, flac, mp3, ogg, opus, m4a, mp4 and most others are"
            ) from error
        try:
            self._frames = self._start(stream)
        except BaseException:
            self.container.close()
            raise

    def _start(self, index: int) -> Iterator[AudioFrame]:
        import av

        streams = self.container.streams.audio
        if index >= len(streams):
            have = f"has {len(streams)} audio streams, got stream {index}" if streams else "has no audio stream"
            raise AudioError(f"{self.name}: {have}; choose a file or stream that holds sound")
        self.stream = streams[index]
        self.resampler = av.AudioResampler(format="fltp")
        frames = self._decode()
        self._first = next(frames, None)
        if self._first is None:
            raise AudioError(f"{self.name}: holds no samples; nothing can be done with it")
        # The decoder knows better than the header: HE-AAC announces half its rate.
        self.rate = self._first.sample_rate
        channels = self._first.layout.nb_channels
        self.info = (self.rate, channels, self._promised(), self.stream.codec_context.name)
        return frames

    def _promised(self) -> int | None:
        """Samples that an MP4 says it has; other containers only guess from the bit rate."""
        if "mp4" not in self.container.format.name or self.stream.duration is None or self.stream.time_base is None:
            return None
        return round(self.stream.duration * self.stream.time_base * self.rate)

    def _decode(self) -> Iterator[AudioFrame]:
        try:
            for frame in self.container.decode(self.stream):
                for plain in self.resampler.resample(frame):
                    plain.duration = frame.duration
                    yield plain
        except (self._error, ValueError) as error:
            raise AudioError(f"{self.name}: damaged ({_reason(error)}); copy or export it again") from error

    def blocks(self, seconds: float) -> Iterator[np.ndarray]:
        size, total = max(1, round(seconds * self.rate)), 0
        ready: list[np.ndarray] = []
        for samples in self._arrays():
            ready.append(samples)
            if sum(part.shape[-1] for part in ready) >= size:
                block = np.concatenate(ready, axis=-1)
                ready = []
                total += block.shape[-1]
                yield block
        if ready:
            block = np.concatenate(ready, axis=-1)
            total += block.shape[-1]
            yield block
        promised = self.info[2]
        if promised is not None and total < promised - _TRUNCATED_SECONDS * self.rate:
            raise AudioError(
                f"{self.name}: truncated or damaged, it ends after {total / self.rate:.2f} s "
                f"of {promised / self.rate:.2f} s; copy it again"
            )

    def _arrays(self) -> Iterator[np.ndarray]:
        previous = self._first
        assert previous is not None
        for frame in self._frames:
            yield previous.to_ndarray()
            previous = frame
        samples = previous.to_ndarray()
        base = self.stream.time_base
        if "mp4" in self.container.format.name and previous.duration and base is not None:
            samples = samples[:, : max(1, round(previous.duration * base * self.rate))]
        yield samples

    def close(self) -> None:
        self.container.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0]
