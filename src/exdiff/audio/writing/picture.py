"""Copy the picture and the subtitles of a film, packet by packet, beside its new sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from exdiff.audio.av_open import open_to_read
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream


class Picture:
    """The streams of `path` besides its sound; `stream` is the audio stream that is replaced (None: the default).

    Raises:
        AudioError: not readable, or without a picture.
    """

    def __init__(self, path: Path, stream: int | None = None) -> None:
        import av.error

        try:
            self.source = open_to_read(path, metadata_errors="replace")
        except (av.error.FFmpegError, OSError) as error:
            raise AudioError(f"{path}: its picture cannot be read ({error.strerror})") from error
        films = [one for one in self.source.streams.video if not _is_cover(one)]
        if not films:
            self.source.close()
            raise AudioError(f"{path}: has no picture; leave out --keep-video")
        sounds = self.source.streams.audio
        chosen = next((one for one in sounds if one.disposition & 1), sounds[0]) if stream is None else sounds[stream]
        starts = [
            float(one.start_time * (one.time_base or 1)) for one in (*films, chosen) if one.start_time is not None
        ]
        self._start = min(starts, default=0.0)  # where the first sample of the new sound lies
        self._replaced = chosen.index
        self._targets: dict[int, Stream] = {}
        self._packets = iter(())
        self._next: Packet | None = None

    def add_streams(self, container: OutputContainer, add_sound: Callable[[], None]) -> list[str]:
        """Declare the streams in their order, the new sound among them.

        Returns:
            A line for each that the container cannot hold.
        """
        notes = []
        for stream in self.source.streams:
            if stream.index == self._replaced:
                add_sound()
            if stream.type == "audio" or _is_cover(stream) or _is_chapter_list(stream):
                continue
            try:
                copy = container.add_stream_from_template(stream)
            except (ValueError, RuntimeError) as error:
                if stream.type == "video":
                    raise OSError(0, f"the picture cannot be kept ({error}); choose mkv") from error
                notes.append(f"the {stream.type} track {stream.index} cannot be kept ({error}); it is left out")
                continue
            copy.metadata.update({key: text for key, text in stream.metadata.items() if key.lower() in _KEPT})
            copy.disposition = stream.disposition
            self._targets[stream.index] = copy
        self._packets = self.source.demux([stream for stream in self.source.streams if stream.index in self._targets])
        return notes

    def feed(self, container: OutputContainer, until: float) -> None:
        """Write the packets up to that time, in seconds from the first sample."""
        while True:
            if self._next is None:
                self._next = next((packet for packet in self._packets if packet.size), None)
            packet = self._next
            if packet is None or packet.time_base is None:
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None and float(stamp * packet.time_base) - self._start > until:
                return
            shift = round(self._start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = self._targets[packet.stream.index]
            container.mux(packet)
            self._next = None

    def close(self) -> None:
        """Release the source."""
        self.source.close()


_KEPT = frozenset({"language", "title", "rotate", "stereo_mode", "filename", "mimetype"})


def _is_cover(stream: Stream) -> bool:
    return "attached_pic" in [flag.name for flag in stream.disposition]


def _is_chapter_list(stream: Stream) -> bool:
    """An MP4's chapters are a text track too; they are written anew."""
    context = stream.codec_context
    return stream.type == "data" and (context is None or context.name in ("bin_data", "text"))
