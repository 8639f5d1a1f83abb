"""Write one audio stream with FFmpeg (PyAV), with its metadata and, if wanted, the picture of a film.

Encoders delay the sound and fill its last packet. Where the container stores both (an MP4's edit list, Matroska's codec
delay and discard padding, LAME's header, Ogg's granule positions) the length is exact. Elsewhere (ADTS, MPEG-TS, AC-3,
MP2) the packets before the first sample are left out, so that the sound keeps its place; silence fills the last one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from exdiff.audio.av_open import open_to_write
from exdiff.audio.codecs import CODECS, CONTAINERS, bit_rate_of
from exdiff.audio.layouts import default_layout, ffmpeg_name
from exdiff.audio.tags.metadata import Metadata, read_metadata
from exdiff.audio.tags.mp4_tags import add_tags
from exdiff.audio.targets import Target
from exdiff.audio.writing.embed import as_os_error, embed, set_padding

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

    from exdiff.audio.writing.picture import Picture

_ENCODERS = {"mp3": "libmp3lame", "opus": "libopus"}
_NO_DELAY = frozenset({"adts", "ts", "ac3", "eac3", "mp2"})  # containers that cannot store an encoder's delay
_BRANDS = {".m4a": "M4A ", ".m4b": "M4B "}  # Apple's kinds of MP4
_NO_FLUSH = frozenset({"mp2", "ac3", "eac3"})  # encoders that keep the last samples: silence drives them out
_MP3_QUALITY = 2  # LAME's -V
_LAMBDA = 118  # FF_QP2LAMBDA: FFmpeg's unit of quality


class FFmpegSink:
    """Takes [T, C] blocks: int32 of `target.bits` bits, or float32 if that is 0."""

    def __init__(
        self, path: Path, target: Target, channels: int, metadata: Metadata | None, picture: Picture | None
    ) -> None:
        self.target, self.channels, self.picture, self.notes = target, channels, picture, list[str]()
        self._path, self._tags = path, metadata.tags if metadata is not None else {}
        layout = target.layout or (default_layout(channels) if channels <= 2 else ())
        self.layout = ffmpeg_name(layout, channels)
        muxer, options = CONTAINERS[target.container].muxer, _muxer_options(target, picture is None)
        self._position, self._packets, self._end, self._closed = 0, 0, 0, False
        self._last: Packet | None = None
        with as_os_error():
            self.container = open_to_write(path, muxer, options)
            if picture is None:
                self._add_stream()
            else:
                self.notes += picture.add_streams(self.container, self._add_stream)
            covers = embed(self.container, self.stream, metadata, target.container) if metadata is not None else []
            self.container.start_encoding()
            for packet in covers:
                self.container.mux(packet)
        spec = CODECS[target.codec]
        silence = -spec.delay % spec.frame if target.container in _NO_DELAY else 0
        self._leave_out = (spec.delay + silence) // spec.frame if target.container in _NO_DELAY else 0
        self._position = -silence
        if silence:
            self.write(np.zeros((silence, channels), np.float32))

    def _add_stream(self) -> None:
        target = self.target
        name = _ENCODERS.get(target.codec, target.codec)
        stream = self.container.add_stream(name, rate=target.sample_rate, layout=self.layout)
        self.stream = cast("AudioStream", stream)
        context = self.stream.codec_context
        if target.codec == "mp3" and target.bit_rate is None:
            context.flags |= 1 << 1  # AV_CODEC_FLAG_QSCALE
            context.global_quality = _MP3_QUALITY * _LAMBDA
        elif CODECS[target.codec].lossy:
            rate = bit_rate_of(target.codec, target.bit_rate, target.sample_rate, self.channels)
            self.stream.bit_rate = rate or 0
        options = {}
        if target.bits:
            depth = "s16" if target.bits <= 16 else "s32"
            formats = [one.name for one in context.codec.audio_formats or ()]
            context.format = next(name for name in formats if name.startswith(depth) or target.bits == 8)
        if target.bits > 16:
            options["bits_per_raw_sample"] = str(target.bits)
        if target.codec == "opus" and self.channels > 2:
            options["mapping_family"] = "1"  # the choice of FFmpeg 8 permutes 5 and 7 channels
        if target.codec == "flac":
            options["strict"] = "experimental"  # any channel layout
        context.options = options

    def write(self, data: np.ndarray, /) -> None:
        import av

        bits, kind = self.target.bits, "flt"
        if data.dtype == np.int32:
            kind = "s16" if bits <= 16 else "s32"
            data = (data << (16 - bits)).astype(np.int16) if bits <= 16 else data << (32 - bits)
        with as_os_error():
            # Interleaved: PyAV copies at most eight planes. It converts to what the encoder takes.
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data).reshape(1, -1), kind, self.layout)
            frame.sample_rate, frame.pts = self.target.sample_rate, self._position
            self._position += len(data)
            for packet in self.stream.encode(frame):
                self._put(packet)

    def _put(self, packet: Packet) -> None:
        """Mux all but the packet given last, which may have to say how much of it is padding."""
        if self._end and self.target.container != "mp3" and packet.pts is not None and packet.pts >= self._end:
            return  # nothing but padding; only LAME's header counts it
        if self._leave_out:
            self._leave_out -= 1
            return
        if self._last is not None:
            self._mux(self._last)
        self._last, self._packets = packet, self._packets + 1

    def _mux(self, packet: Packet) -> None:
        if self.picture is not None and packet.pts is not None and packet.time_base is not None:
            self.picture.feed(self.container, float(packet.pts * packet.time_base))
        self.container.mux(packet)

    def close(self) -> None:
        if self._closed:
            return
        try:
            with as_os_error():
                end = self._end = self._position
                if self.target.codec in _NO_FLUSH:
                    self.write(np.zeros((CODECS[self.target.codec].delay, self.channels), np.float32))
                for packet in self.stream.encode(None):
                    self._put(packet)
                if self._last is not None:
                    self._pad(self._last, end)
                    self._mux(self._last)
                if self.picture is not None:
                    self.picture.feed(self.container, float("inf"))
        finally:
            self.abort()
        if self.target.container == "mp4" and self._tags:
            kept = {key.lower() for key in read_metadata(self._path).tags}
            if more := {key: text for key, text in self._tags.items() if key.lower() not in kept}:
                add_tags(self._path, more)

    def abort(self) -> None:
        """Release the files."""
        if not self._closed:
            self._closed = True
            try:
                with as_os_error():
                    self.container.close()
            finally:
                if self.picture is not None:
                    self.picture.close()

    def _pad(self, packet: Packet, end: int) -> None:
        """Say how many samples of the last packets lie behind the sound's end.

        FFmpeg does not for aac in Matroska, and counts those of the very last packet only in mp3, whose encoder may add
        a packet of nothing but padding.
        """
        frame = self.stream.codec_context.frame_size  # half as long in mp3 below 32 kHz
        if self.target.container == "mp3":
            set_padding(packet, self._packets * frame - CODECS["mp3"].delay - end)
        elif self.target.container == "mkv" and CODECS[self.target.codec].frame and packet.pts is not None:
            set_padding(packet, packet.pts + frame - end)


def _muxer_options(target: Target, alone: bool) -> dict[str, str]:
    options = {"write_id3v2": "1"} if target.container == "adts" else {}
    if target.container in ("mp4", "mov"):
        # The movie's clock runs at the sample rate, which makes the length in the edit list exact.
        options["movie_timescale"] = str(target.sample_rate)
        if alone and target.suffix.lower() in _BRANDS:
            options["brand"] = _BRANDS[target.suffix.lower()]
        if target.container == "mov":
            options["movflags"] = "use_metadata_tags"  # any tag, not only QuickTime's own
    return options
