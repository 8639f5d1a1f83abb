"""Decode with FFmpeg (PyAV, imported on first use: it takes a while) and keep every sample at its time.

Holes in the time stamps become silence, and sound that begins after the picture gets silence before it: `timeline.py`
says how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from exdiff.audio.info import AudioInfo
from exdiff.audio.layouts import wav_order
from exdiff.audio.reading.ffmpeg_frames import PackedFrames
from exdiff.audio.reading.ffmpeg_info import (
    EXACT,
    LOSSLESS,
    channel_order,
    codec_bits,
    container_name,
    duration_witness,
    order_is_lost,
    select_stream,
    stream_codec,
    take_custom_layout,
)
from exdiff.audio.reading.ffmpeg_open import open_container
from exdiff.audio.reading.ffmpeg_packets import FRAMES_ONLY, PacketDecoder
from exdiff.audio.reading.integrity import Witness, verify
from exdiff.audio.reading.source import MAX_BLOCK, Source, check_header, file_size, read_at, seekable
from exdiff.audio.reading.timeline import Timeline
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame

_LONGEST = 1e7  # seconds; a longer duration in a header is nonsense
_INDEX = 1024  # bytes behind the last packet of a Matroska file
_TRAILER = 4  # bytes; fewer are padding


class FFmpegSource(Source):
    """One audio stream of a container.

    Args:
        file: an open file; with `path`, FFmpeg opens that itself, which is faster.
        name: for messages.
        stream: index among the audio streams; None for the default one.
        path: of the file, if it is one on the disk.
        format: FFmpeg's name of the container, None to find out.
        options: for the demuxer.
        salvage: fill with silence and report what cannot be decoded.
        failure: what is already known to be wrong with the file ("" for nothing).
        check: called after the last sample; gives what was wrong with the file.

    Raises:
        AudioError: not a media file, no such stream, or no sound in it.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        stream: int | None,
        *,
        path: Path | None = None,
        format: str | None = None,
        options: dict[str, str] | None = None,
        salvage: bool = False,
        failure: str = "",
        check: Callable[[], str] | None = None,
    ) -> None:
        self.name, self._salvage, self._failure = name, salvage, failure
        self._check = check or str
        self.notes, self.missing, self._witnesses = [], [], list[Witness]()
        self._head, self._size = b"", 0
        if seekable(file):
            self._head, self._size = read_at(file, 0, 64), file_size(file)
            file.seek(0)
        self.container = open_container(file, name, path=path, format=format, options=options, failure=failure)
        try:
            self._start(stream)
        except BaseException:
            self.container.close()
            raise

    def _start(self, index: int | None) -> None:
        self.stream = select_stream(self.container, self.name, index, self.notes)
        custom = take_custom_layout(self.stream.codec_context)
        if custom and order_is_lost(self.container):
            custom = wav_order(custom)
        if self.stream.codec_context.name in LOSSLESS:
            self.stream.codec_context.options = {"err_detect": "crccheck+explode"}
        # Time stamps are counted in samples there, so a hole can only be damage.
        self._counted = self.container.format.name.split(",")[0] in EXACT
        self._packed = PackedFrames()
        self._packets = PacketDecoder(self.container, self.stream, self.name, self.notes, salvage=self._salvage)
        self._frames = self._packets.frames()
        self._position = 0
        first = next(self._frames, None)
        if first is None:
            raise AudioError(f"{self.name}: holds no samples; nothing can be done with it")
        self._first = first
        # The header may be wrong: that of HE-AAC gives half the rate.
        rate, channels = first.sample_rate, first.layout.nb_channels
        check_header(self.name, rate, channels)
        self._order, layout = channel_order(custom or [channel.name for channel in first.layout.channels])
        context = self.stream.codec_context
        self._witness = duration_witness(self.container, self.stream, rate)
        frames = self._witness.frames if self._witness and not self._witness.slack else None
        bits = codec_bits(self.stream, first.format.name, self._packets.head)
        name = stream_codec(context.name, self._packets.head)
        rates = (self.stream.bit_rate, self.container.bit_rate if len(self.container.streams) == 1 else 0)
        bit_rate = None if bits else next((value for value in rates if value), None)
        container = container_name(self.container.format.name, self._head)
        self.info = AudioInfo(rate, channels, frames, name, name, container, bit_rate, layout, bits)
        self._timeline = Timeline(self.container, self.stream, first, self.notes, lost=self._packets.failed > 0)
        self.start = self._timeline.start
        duration = (self.container.duration or 0) / 1e6
        self.seconds = duration if 0 < duration < _LONGEST else None

    def _unread(self, left: int) -> bool:
        """Whether a Matroska file that does not say its length has more behind its last packet than an index."""
        alone = self._witness is None and len(self.container.streams) == 1
        return alone and self.info.container in ("mkv", "webm") and self._size > 0 and left > _INDEX

    def native(self, frames: int) -> Iterator[np.ndarray]:
        frames = max(1, min(frames, MAX_BLOCK // self.info.channels))
        ready: list[np.ndarray] = []
        held = 0
        for part in self._parts():
            self._position += part.shape[1]
            for start in range(0, part.shape[1], frames):
                piece = part[:, start : start + frames]
                ready.append(piece)
                held += piece.shape[1]
                if held >= frames:
                    yield np.concatenate(ready, axis=1)
                    ready, held = [], 0
        if ready:
            yield np.concatenate(ready, axis=1)
        witnesses = self._witnesses + ([self._witness] if self._witness else [])
        total = self._position - (0 if self._lost_lead else self._timeline.lead)
        left = self._size - self._packets.consumed
        if self.info.container in FRAMES_ONLY and self._size and left >= _TRAILER:
            self.notes.append(f"its last {left} bytes are not a whole frame: left out")
        failure = self._failure or self._check()
        if self._unread(left):
            failure = failure or f"its last {left} bytes cannot be read"
        if self._packets.failed and not self._packets.broadcast:
            failure = failure or "its last packets cannot be decoded"
        elif self._packets.failed:
            self.notes.append("its last packets could not be decoded: left out")
        notes, missing = verify(
            self.name, self.info.sample_rate, total, witnesses, failure=failure, salvage=self._salvage
        )
        self.notes += [*self._timeline.summary(), *notes]
        self.missing += missing

    def _parts(self) -> Iterator[np.ndarray]:
        """Samples and, in holes, silence."""
        previous = self._first
        self._lost_lead = self._packets.failed > 0
        if self._packets.failed:
            self.missing.append((0.0, self._timeline.lead / self.info.sample_rate))
            self._packets.failed = 0
        yield from self._silence(self._timeline.lead)
        for frame in self._frames:
            if not self._same_kind(frame):
                yield self._samples(previous)
                return
            yield self._samples(previous)
            lost = self._packets.failed
            if self._counted and self._timeline.steps_over(frame, previous):
                lost = lost or 1
                if not self._salvage:
                    where = f"damaged after {self._position / self.info.sample_rate:.2f} s"
                    raise AudioError(f"{self.name}: {where}; copy it again, or keep the rest with --salvage")
            hole = self._timeline.hole_before(frame, previous, self._position, lost=bool(lost))
            if lost:
                self._report_lost(hole)
            self._packets.failed = 0
            yield from self._silence(hole)
            previous = frame
        samples = self._samples(previous)
        yield samples[:, : self._timeline.last_samples(previous, self._witness, self._position)]

    def _report_lost(self, hole: int) -> None:
        """Packets before `_position` could not be decoded; `hole` samples of silence stand for them."""
        start, length = self._position / self.info.sample_rate, hole / self.info.sample_rate
        if self._salvage:
            self.missing.append((start, length))
        else:
            self.notes.append(f"{length:.2f} s at {start:.2f} s could not be decoded: silence")

    def _same_kind(self, frame: AudioFrame) -> bool:
        """Whether the rate and channels are still those of the first frame; an error unless this is a salvage."""
        was = (self.info.channels, self.info.sample_rate)
        now = (frame.layout.nb_channels, frame.sample_rate)
        if now == was:
            return True
        seconds = (self._position + self._first.samples) / self.info.sample_rate
        change = f"changes from {was[0]} channels at {was[1]} Hz to {now[0]} at {now[1]} Hz after {seconds:.2f} s"
        if not self._salvage:
            raise AudioError(f"{self.name}: {change}; split it there, or keep the first part with --salvage")
        self.notes.append(f"{change}: the rest is left out")
        rest = sum(later.samples / later.sample_rate for later in self._frames)
        self.missing.append((seconds, rest + frame.samples / frame.sample_rate))
        self._witness = None
        return False

    def _silence(self, length: int) -> Iterator[np.ndarray]:
        size = MAX_BLOCK // self.info.channels
        for start in range(0, length, size):
            kind = np.int32 if self.info.bits else np.float32
            yield np.zeros((self.info.channels, min(size, length - start)), kind)

    def _samples(self, frame: AudioFrame) -> np.ndarray:
        return self._packed.samples(frame, self.info.bits, self._order)

    def add_witness(self, witness: Witness) -> None:
        """One more record of the length."""
        self._witnesses.append(witness)

    def close(self) -> None:
        self.container.close()
