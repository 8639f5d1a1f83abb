"""What FFmpeg's structures say about a stream: names, depth, channel order, length, and which stream is the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from exdiff.audio.layouts import NAMES, wav_order
from exdiff.audio.reading.integrity import Witness
from exdiff.audio.reading.mpeg_header import parse_header
from exdiff.core.errors import AudioError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_CONTAINERS = {"mov": "mp4", "matroska": "mkv", "mpegts": "ts", "aac": "adts", "mpeg": "mpg"}
LOSSLESS = frozenset(
    {"flac", "alac", "tta", "wavpack", "ape", "mlp", "truehd", "shorten", "wmalossless", "als", "tak", "ralf"}
)
# Containers whose length and time stamps are counted in samples.
EXACT = frozenset({"wav", "w64", "aiff", "au", "flac", "tta", "wv", "ape"})
_ROUGH_SECONDS = 0.25  # how much of the length in another container's header may be missing


def container_name(format_name: str, head: bytes = b"") -> str:
    """A short name for FFmpeg's name of a demuxer; `head`, the file's first bytes, tells relatives apart.

    Example:
        >>> container_name("mov,mp4,m4a,3gp,3g2,mj2"), container_name("matroska,webm"), container_name("ac3")
        ('mp4', 'mkv', 'ac3')
    """
    first = format_name.split(",")[0]
    if first == "mov" and (head[4:12] == b"ftypqt  " or head[4:8] not in (b"ftyp", b"")):
        return "mov"
    if first == "matroska" and b"webm" in head[:64]:
        return "webm"
    return _CONTAINERS.get(first, first)


def select_stream(container: InputContainer, name: str, index: int | None, notes: list[str]) -> AudioStream:
    """The audio stream with `index`, or the default one; a choice among several adds a note.

    Raises:
        AudioError: there is no such stream.
    """
    from av.stream import Disposition

    streams = container.streams.audio
    if not streams or (index is not None and not 0 <= index < len(streams)):
        have = f"has {len(streams)} audio streams, got stream {index}" if streams else "has no audio stream"
        if len(streams) == 1:
            have = f"has 1 audio stream, got stream {index}; streams are counted from 0"
        raise AudioError(f"{name}: {have}; choose a file or stream with sound")
    if index is not None:
        return _decodable(streams[index], name)
    default = next((i for i, stream in enumerate(streams) if stream.disposition & Disposition.default), 0)
    if len(streams) > 1:
        language = streams[default].metadata.get("language", "")
        spoken = f" ({language})" if language and language != "und" else ""
        kind = "the default" if streams[default].disposition & Disposition.default else "the first"
        notes.append(
            f"{len(streams)} audio streams; {kind}, stream {default}{spoken}, is used; --stream N takes another"
        )
    return _decodable(streams[default], name)


def _decodable(stream: AudioStream, name: str) -> AudioStream:
    if stream.codec_context is None:  # whatever PyAV's annotations say
        raise AudioError(f"{name}: FFmpeg has no decoder for its sound; export it again in another format")
    return stream


def take_custom_layout(context: AudioCodecContext) -> tuple[str, ...]:
    """The channel names of a stream in an order of its own, () for one of FFmpeg's layouts.

    PyAV shares the list of such a layout between all its objects, and each frees it. So the decoder gets a layout
    without a list before it opens.
    """
    layout = context.layout
    if "channels (" not in layout.name:
        return ()
    names = tuple(channel.name for channel in layout.channels)
    context.layout = f"{len(names)} channels"
    return names


def order_is_lost(container: InputContainer) -> bool:
    """Whether the program that wrote the file ignored the order of the channels that it named: FFmpeg before 7."""
    name = container.metadata.get("encoder", "")
    version = name.removeprefix("Lavf").split(".")[0]
    return name.startswith("Lavf") and version.isdigit() and int(version) < 61


def channel_order(names: Sequence[str]) -> tuple[list[int] | None, tuple[str, ...]]:
    """(for each channel in WAV order its number in the frame, or None; the names in WAV order, or ()).

    Example:
        >>> channel_order(("FL", "FC", "FR"))
        ([0, 2, 1], ('FL', 'FR', 'FC'))
    """
    if len(set(names)) != len(names) or not set(names) <= set(NAMES):
        return None, ()
    layout = wav_order(names)
    order = [list(names).index(name) for name in layout]
    return (None if order == list(range(len(names))) else order), layout


def stream_codec(decoder: str, packet: bytes) -> str:
    """FFmpeg's name of the codec; MPEG transport streams and MP4 files call every layer of MPEG audio MP3.

    Example:
        >>> stream_codec("mp3float", bytes.fromhex("fffd9404")), stream_codec("aac", b"")
        ('mp2', 'aac')
    """
    if decoder.endswith("float"):
        header = parse_header(packet[:8])
        return header.codec if header is not None else decoder.removesuffix("float")
    return decoder


def codec_bits(stream: AudioStream, sample_format: str, packet: bytes) -> int:
    """Significant bits of an integer sample; 0 for float and lossy codecs."""
    name, extra = stream.codec_context.name, stream.codec_context.extradata or b""
    width = {"u8": 8, "s16": 16, "s32": 32}.get(sample_format.removesuffix("p"), 0)
    if not width:
        return 0
    if name.startswith(("pcm_s", "pcm_u")):
        return int("".join(filter(str.isdigit, name.split("_")[1]))[:2])
    if name.startswith(("pcm_bluray", "pcm_dvd")):
        return min(width, 24)
    if name not in LOSSLESS:
        return 0
    if name == "flac" and len(extra) >= 18:
        return (((extra[12] & 1) << 4) | (extra[13] >> 4)) + 1
    if name == "alac" and len(extra) >= 18:
        return extra[17] if 8 <= extra[17] <= width else width
    if name == "wavpack":
        return 8 * (1 + (packet[24] & 3)) if packet[:4] == b"wvpk" and len(packet) > 24 else width
    return min(width, 24)


def duration_witness(container: InputContainer, stream: AudioStream, rate: int) -> Witness | None:
    """The length in the container's header, if it has one that counts."""
    kind = container.format.name.split(",")[0]
    if kind in {"mov", "asf", "avi", "caf", "voc"} | EXACT and stream.duration and stream.time_base:
        frames = round(stream.duration * stream.time_base * rate)
        return Witness("its header", frames, 0 if kind in EXACT else round(_ROUGH_SECONDS * rate))
    if kind == "flv" and len(container.streams) == 1 and container.duration:
        return Witness("its header", round(container.duration / 1e6 * rate), round(2 * _ROUGH_SECONDS * rate))
    if kind == "matroska":
        seconds = _clock(stream.metadata.get("DURATION", ""))
        if seconds is None and len(container.streams) == 1 and container.duration:
            seconds = container.duration / 1e6
        if seconds is not None:
            # The tag counts from time 0, and the sound may begin later.
            seconds -= float((stream.start_time or 0) * (stream.time_base or 0))
            return Witness("its header", round(seconds * rate), round(_ROUGH_SECONDS * rate))
    return None


def _clock(text: str) -> float | None:
    """Seconds of "HH:MM:SS.fraction"."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def attached_picture(stream: Any) -> bool:
    """Whether a video stream is a cover."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
