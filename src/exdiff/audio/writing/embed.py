"""Put metadata into a file that PyAV writes, before its first packet."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from exdiff.audio.av_open import open_to_read, open_to_write
from exdiff.audio.codecs import CONTAINERS
from exdiff.audio.tags.metadata import Metadata, bibliographic

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

_IN_COMMENTS = frozenset({"ogg"})  # covers are comments there
_ATTACHED = frozenset({"mkv"})
_PICTURES = frozenset({"mp3", "mp4", "mov", "flac"})  # covers are streams of one packet
_CHAPTERS = frozenset({"mp3", "mp4", "mov", "flac", "ogg", "mkv", "webm"})
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "image/bmp": "bmp"}


def embed(container: OutputContainer, stream: AudioStream, metadata: Metadata, kind: str) -> list[Packet]:
    """Set tags, chapters and covers; `kind` is a key of `CONTAINERS`. The packets are to be muxed first."""
    tags = dict(metadata.tags)
    if kind == "ogg":
        for mime, image in metadata.covers[:1]:
            tags["METADATA_BLOCK_PICTURE"] = base64.b64encode(picture_block(mime, image)).decode()
        if stream.codec_context.name == "flac":  # whose chapters FFmpeg does not write
            tags.update(row for row in vorbis_comments(metadata) if row[0].startswith("CHAPTER"))
        stream.metadata.update(tags)
    else:
        container.metadata.update(tags)
    if metadata.language:
        language = bibliographic(metadata.language) if kind == "mov" else metadata.language
        (container if kind in ("mp3", "flac") else stream).metadata["language"] = language
    if metadata.chapters and kind in _CHAPTERS:
        base = Fraction(1, 1000)
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(start * 1000),
                    "end": round(end * 1000),
                    "time_base": base,
                    "metadata": {"title": title} if title else {},
                }
                for number, (start, end, title) in enumerate(metadata.chapters, 1)
            ]
        )
    from av.stream import Disposition

    flags = Disposition(0)
    for name in metadata.disposition:
        flags |= getattr(Disposition, name, Disposition(0))
    if flags:
        stream.disposition = flags
    if kind in _ATTACHED:
        for number, (mime, image) in enumerate(metadata.covers):
            name = "cover" if number == 0 else f"cover_{number + 1}"
            container.add_attachment(f"{name}.{_EXTENSIONS.get(mime, 'bin')}", mime, image)
    return [packet for cover in metadata.covers if kind in _PICTURES for packet in _cover(container, *cover)]


def _cover(container: OutputContainer, mime: str, image: bytes) -> list[Packet]:
    """A stream for the picture, and its only packet; none if the container does not take that kind of picture."""
    import av
    import av.error
    from av.stream import Disposition

    try:
        with open_to_read(io.BytesIO(image)) as source:
            stream = container.add_stream_from_template(source.streams.video[0])
    except (av.error.FFmpegError, ValueError, IndexError):
        return []
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(image)
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 90000)
    packet.is_keyframe = True
    return [packet]


def picture_block(mime: str, image: bytes) -> bytes:
    r"""The content of a FLAC picture block (RFC 9639, section 8.8): a front cover whose size the image itself tells.

    Example:
        >>> picture_block("image/png", b"abc")[-7:]
        b'\x00\x00\x00\x03abc'
    """
    name = mime.encode()
    return struct.pack(">II", 3, len(name)) + name + struct.pack(">6I", 0, 0, 0, 0, 0, len(image)) + image


def vorbis_comments(metadata: Metadata) -> list[tuple[str, str]]:
    """(name, text) of the comments that hold tags, language and chapters."""
    comments = [(_COMMENTS.get(key.lower(), key), text) for key, text in metadata.tags.items()]
    if metadata.language:
        comments.append(("LANGUAGE", metadata.language))
    for number, (start, _, title) in enumerate(metadata.chapters, 1):
        minutes, seconds = divmod(start, 60)
        comments.append((f"CHAPTER{number:03}", f"{minutes // 60:02.0f}:{minutes % 60:02.0f}:{seconds:06.3f}"))
        comments.append((f"CHAPTER{number:03}NAME", title))
    return comments


_COMMENTS = {"album_artist": "ALBUMARTIST", "track": "TRACKNUMBER", "disc": "DISCNUMBER"}


def copy_vorbis(source: Path, target: Path, kind: str, metadata: Metadata, frames: int) -> None:
    """Put the `frames` samples of an Ogg Vorbis file into another container, with metadata.

    Raises:
        OSError: it cannot be written.
    """
    with (
        as_os_error(),
        open_to_read(source) as old,
        open_to_write(target, CONTAINERS[kind].muxer) as new,
    ):
        stream = new.add_stream_from_template(old.streams.audio[0])
        covers = embed(new, stream, metadata, kind)
        new.start_encoding()
        for packet in covers:
            new.mux(packet)
        shift, last = None, None
        for packet in old.demux(old.streams.audio[0]):
            if not packet.size:
                continue
            if shift is None:
                # The first packet gives no sound, so the second begins at 0. FFmpeg counts from 0 if there is one page.
                shift = (packet.pts or 0) + (packet.duration or 0)
            packet.pts = packet.dts = (packet.pts or 0) - shift
            packet.stream = stream
            if last is not None:
                new.mux(last)
            last = packet
        if last is not None:
            _end_at(last, frames)
            new.mux(last)


def _end_at(packet: Packet, frames: int) -> None:
    """Set the duration and the padding of the last packet so that the sound ends after `frames` samples."""
    duration = packet.duration or 0
    duration -= 1 << 32 if duration >= 1 << 31 else 0  # FFmpeg stores a negative one
    padding = 0
    if packet.has_sidedata("skip_samples"):
        padding = struct.unpack_from("<I", bytes(packet.get_sidedata("skip_samples")), 4)[0]
    whole, packet.duration = duration + padding, max(0, frames - (packet.pts or 0))
    set_padding(packet, whole - (frames - (packet.pts or 0)))


def set_padding(packet: Packet, samples: int) -> None:
    """Say that the last `samples` of a packet are padding."""
    from av.packet import PacketSideData, PktSideDataT

    if samples > 0:
        data = PacketSideData(get_args(PktSideDataT).index("skip_samples"), 10)  # pyright: ignore[reportCallIssue]
        data.update(struct.pack("<IIBB", 0, samples, 0, 0))
        packet.set_sidedata(data)


@contextmanager
def as_os_error() -> Iterator[None]:
    """Turn FFmpeg's errors into OSError."""
    import av.error

    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        code, text = error.errno, error.strerror
        raise OSError(code, text) from error
