"""Decode the frames that `mpeg.py` found, with FFmpeg's decoders and without its guesses of the length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from exdiff.audio.info import AudioInfo
from exdiff.audio.reading.ffmpeg_frames import PackedFrames
from exdiff.audio.reading.ffmpeg_info import channel_order
from exdiff.audio.reading.ffmpeg_open import reason
from exdiff.audio.reading.integrity import Witness, verify
from exdiff.audio.reading.mpeg import Stream
from exdiff.audio.reading.source import Source, read_at
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame

_DECODERS = {"mp3": "mp3float", "mp2": "mp2float", "mp1": "mp1float", "aac": "aac"}
_SLACK_FRAMES = 2  # by which encoders miscount


class MpegSource(Source):
    """One stream of frames.

    Raises:
        AudioError: no frame can be decoded.
    """

    def __init__(self, file: BinaryIO, name: str, stream: Stream, *, salvage: bool = False) -> None:
        import av
        import av.error

        self.name, self._file, self._stream, self._salvage = name, file, stream, salvage
        self._errors = (av.error.FFmpegError, ValueError)
        self._context: Any = av.CodecContext.create(_DECODERS[stream.header.codec], "r")
        self._packed = PackedFrames()
        self.notes, self.missing = [], []
        # HE-AAC gives twice the rate and perhaps another number of channels than its header says.
        frame = self._first_frame()
        self._scale = frame.sample_rate / stream.header.rate
        self._order, layout = channel_order([channel.name for channel in frame.layout.channels])
        self._channels, rate = frame.layout.nb_channels, frame.sample_rate
        count = len(stream.offsets)
        self._expected = round(count * stream.header.samples * self._scale)
        self._end = self._expected - self._padding()
        seconds = self._expected / rate
        size = sum(stream.sizes)
        codec = stream.header.codec
        container = {"aac": "adts"}.get(codec, codec)
        self.info = AudioInfo(
            rate, self._channels, max(0, self._end - stream.skip), "MPEG_LAYER_III" if codec == "mp3" else codec,
            codec, container, round(8 * size / seconds), layout, 0,
        )  # fmt: skip
        self._context = av.CodecContext.create(_DECODERS[codec], "r")

    def _first_frame(self) -> AudioFrame:
        last: Exception | None = None
        for index in range(min(64, len(self._stream.offsets))):
            try:
                if frames := self._decode(index):
                    return frames[0]
            except self._errors as error:
                last = error
        detail = f" ({reason(last)})" if last else ""
        raise AudioError(f"{self.name}: damaged: none of its frames can be decoded{detail}; copy it again") from last

    def _decode(self, index: int) -> list[AudioFrame]:
        import av

        data = read_at(self._file, self._stream.offsets[index], self._stream.sizes[index])
        return self._context.decode(av.Packet(data))

    def _padding(self) -> int:
        """Samples at the end that are not sound; a header that counts other frames is not to be believed."""
        stream = self._stream
        if stream.xing_frames and abs(stream.xing_frames - len(stream.offsets)) > 1:
            return 0
        return stream.padding

    def native(self, frames: int) -> Iterator[np.ndarray]:
        total = position = held = 0
        ready: list[np.ndarray] = []
        for part in self._parts():
            start = max(0, self._stream.skip - position)
            keep = part[:, start : max(0, min(part.shape[1], self._end - position))]
            position += part.shape[1]
            if keep.shape[1]:
                ready.append(keep)
                held += keep.shape[1]
            if held >= frames:
                total += held
                yield np.concatenate(ready, axis=1)
                ready, held = [], 0
        if ready:
            total += held
            yield np.concatenate(ready, axis=1)
        self._finish(total)

    def _parts(self) -> Iterator[np.ndarray]:
        """The samples of every frame. In a salvage, silence stands for a frame that cannot be decoded."""
        rate, length = self.info.sample_rate, round(self._stream.header.samples * self._scale)
        for index in range(len(self._stream.offsets)):
            seconds = index * length / rate
            try:
                decoded = self._decode(index)
            except self._errors as error:
                if not self._salvage:
                    text = f"damaged after {seconds:.2f} s ({reason(error)}); copy it again, or use --salvage"
                    raise AudioError(f"{self.name}: {text}") from error
                self.missing.append((seconds, length / rate))
                decoded = []
                yield np.zeros((self._channels, length), np.float32)
            for frame in decoded:
                if (frame.layout.nb_channels, frame.sample_rate) != (self._channels, rate):
                    change = f"changes from {self._channels} to {frame.layout.nb_channels} channels, or its rate"
                    raise AudioError(f"{self.name}: {change} after {seconds:.2f} s; split it there")
                yield self._packed.samples(frame, 0, self._order)

    def _finish(self, total: int) -> None:
        stream, rate, length = self._stream, self.info.sample_rate, round(self._stream.header.samples * self._scale)
        witnesses = [Witness("its frames", self.info.frames or 0, length)]
        failure = ""
        whole = stream.offsets[-1] + stream.sizes[-1] + stream.partial - stream.xing_at
        if stream.xing_frames:
            frames = stream.xing_frames * length - stream.skip - stream.padding
            short = stream.xing_bytes > whole + 128 + 8 if stream.xing_bytes else True
            slack = _SLACK_FRAMES * length
            if frames > total + slack and short:
                lack = f", at least {stream.xing_bytes - whole - 128} bytes are missing at its end"
                failure = lack if stream.xing_bytes else ""
                witnesses.append(Witness("its Xing header", frames, slack))
            elif frames < total - slack or frames > total + slack:
                self.notes.append(
                    f"its Xing header says {frames / rate:.2f} s, but it holds {total / rate:.2f} s: all is read"
                )
        average = sum(stream.sizes) / len(stream.sizes)
        where = [(index * length / rate, size) for index, size in stream.junk if size >= average / 2]
        inner = [(seconds, size) for seconds, size in where if seconds < (len(stream.offsets) - 1) * length / rate]
        if inner and not self._salvage:
            seconds, size = inner[0]
            raise AudioError(
                f"{self.name}: damaged: {size} bytes after {seconds:.2f} s are not {self.info.codec}; "
                "copy it again, or keep the rest with --salvage"
            )
        if inner:
            self.missing += [(seconds, size / average * length / rate) for seconds, size in inner]
        elif stream.junk:
            size = sum(size for _, size in stream.junk)
            self.notes.append(f"{size} bytes that are not {self.info.codec} are left out")
        if stream.cut and not failure:
            self.notes.append(f"its last frame is not complete: at most {length / rate:.3f} s are left out")
        notes, missing = verify(self.name, rate, total, witnesses, failure=failure.strip(", "), salvage=self._salvage)
        self.notes += notes
        self.missing += missing

    def close(self) -> None:
        """Nothing to do: the file belongs to the reader."""
