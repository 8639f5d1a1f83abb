"""Read m4a, mp4 and other containers, and write m4a, with FFmpeg (PyAV, imported on first use: it takes a while).

An MP4's edit list gives its length in units of the movie's clock, often milliseconds. The duration of the last packet
is exact, so the padding is trimmed by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame

_TRUNCATED_SECONDS = 0.25  # how much of the length in an MP4's header may be missing


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
                f"{self.name}: not a readable audio or video file ({_reason(error)}); "
                "wav, flac, mp3, ogg, opus, m4a, mp4 and most other formats can be read"
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
            raise AudioError(f"{self.name}: {have}; choose a file or stream with sound")
        self.stream = streams[index]
        self.resampler = av.AudioResampler(format="fltp")
        frames = self._decode()
        self._first = next(frames, None)
        if self._first is None:
            raise AudioError(f"{self.name}: holds no samples; nothing can be done with it")
        # The header may be wrong: that of HE-AAC gives half the rate.
        self.rate = self._first.sample_rate
        channels = self._first.layout.nb_channels
        self.info = (self.rate, channels, self._promised(), self.stream.codec_context.name)
        return frames

    def _promised(self) -> int | None:
        """Number of samples in an MP4's header; other containers only estimate it from the bit rate."""
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
                f"{self.name}: truncated or damaged: it ends after {total / self.rate:.2f} s "
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


class ContainerSink:
    """AAC in MP4 through FFmpeg; takes [T, C]."""

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        import av

        # The movie's clock runs at the sample rate, which makes the length in the edit list exact.
        self.container = av.open(str(path), "w", format="ipod", options={"movie_timescale": str(sample_rate)})
        self.layout = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")[channels - 1]
        self.stream = self.container.add_stream("aac", rate=sample_rate, layout=self.layout)
        self.stream.bit_rate = min(96000, 4 * sample_rate) * channels
        self.rate, self.position, self.closed = sample_rate, 0, False

    def write(self, data: np.ndarray, /) -> None:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data.T), format="fltp", layout=self.layout)
        frame.sample_rate, frame.pts = self.rate, self.position
        self.position += len(data)
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        try:
            for packet in self.stream.encode(None):
                self.container.mux(packet)
        finally:
            self.container.close()
