"""The frames of one stream, and what to do about packets that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from exdiff.audio.reading.ffmpeg_open import reason
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

FRAMES_ONLY = frozenset({"ac3", "eac3", "dts", "truehd"})  # files of nothing but frames, to the last byte
_BROADCAST = FRAMES_ONLY | {"mpegts", "mpeg", "aac", "loas"}
_BROADCAST_ERRORS = 64  # packets that may fail in a recording of a broadcast, which begins and ends within a frame
_MAX_ERRORS = 100_000  # packets in a row, in a salvage


class PacketDecoder:
    """Decodes a stream packet by packet.

    Attributes:
        head: the first bytes of the first packet.
        failed: packets that failed; the caller sets it to 0 where it has filled their place.
        consumed: where the last packet ends in the file.
        broadcast: whether the container is one of broadcasts, whose recordings begin within a frame.
    """

    def __init__(
        self, container: InputContainer, stream: AudioStream, name: str, notes: list[str], *, salvage: bool
    ) -> None:
        self._container, self._stream, self._name, self._notes = container, stream, name, notes
        self._salvage = salvage
        self.head, self.failed, self.consumed = b"", 0, 0
        self.broadcast = container.format.name.split(",")[0] in _BROADCAST
        self._heard = 0.0  # seconds
        self._early = self._spoilt = 0  # packets that failed before and after the first sound

    def frames(self) -> Iterator[AudioFrame]:
        """Every frame. Packets that fail before the first sound of a broadcast are left out with a note.

        Raises:
            AudioError: a packet cannot be decoded.
        """
        import av.error

        packets = self._container.demux(self._stream)
        while self.failed <= _MAX_ERRORS and self._early <= _MAX_ERRORS:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                self.head = self.head or bytes(packet)[:64]
                if packet.pos is not None:
                    self.consumed = max(self.consumed, packet.pos + packet.size)
                for frame in packet.decode():
                    self._heard += frame.samples / frame.sample_rate
                    yield frame
            except (av.error.FFmpegError, ValueError) as error:
                self._failure(error)
        if self._early and self._heard:
            self._notes.append(f"packets before the first sound could not be decoded ({self._early}): left out")

    def _failure(self, error: Exception) -> None:
        tolerant = self.broadcast and self._early + self._spoilt < _BROADCAST_ERRORS
        if not (self._salvage or tolerant):
            where = f" after {self._heard:.2f} s" if self._heard else ""
            text = f"damaged{where} ({reason(error)}); copy it again, or keep the rest with --salvage"
            raise AudioError(f"{self._name}: {text}") from error
        if self._heard:
            self._spoilt += 1
            self.failed += 1
        else:
            self._early += 1
            self.failed += not tolerant
