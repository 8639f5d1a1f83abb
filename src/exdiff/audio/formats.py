"""File formats: the suffixes that are read and the formats that are written."""

from __future__ import annotations

from dataclasses import dataclass

from exdiff.core.errors import AudioError


@dataclass(frozen=True)
class Format:
    """A format that can be written.

    Attributes:
        container, codec: libsndfile's names; `m4a` is written by FFmpeg instead.
        lossy: the codec takes values over full scale, so nothing is clipped here.
        rates: those that the codec supports, in Hz, increasing; empty for all.
        max_channels: of the codec.
        compression: libsndfile's level from 0 (best) to 1 (smallest), None for its default.
    """

    container: str
    codec: str
    lossy: bool
    rates: tuple[int, ...] = ()
    max_channels: int = 8
    compression: float | None = None


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

FORMATS: dict[str, Format] = {
    "wav": Format("WAV", "PCM_16", lossy=False, max_channels=1024),
    "flac": Format("FLAC", "PCM_16", lossy=False),
    "mp3": Format("MP3", "MPEG_LAYER_III", lossy=True, rates=_MPEG_RATES, max_channels=2, compression=0.2),
    "ogg": Format("OGG", "VORBIS", lossy=True, compression=0.4),
    "opus": Format("OGG", "OPUS", lossy=True, rates=(8000, 12000, 16000, 24000, 48000), compression=0.5),
    "m4a": Format("ipod", "aac", lossy=True, rates=(*_MPEG_RATES, 64000, 88200, 96000)),
}

_SAME = {"oga": "ogg", "mp4": "m4a", "m4v": "m4a", "mov": "m4a", "m4b": "m4a", "aac": "m4a", "wave": "wav"}
_READ_ONLY = (
    "aif aifc aiff amr ape au avi caf flv g722 mka mkv mp2 mpeg mpg mts rf64 "
    "snd spx ts vob w64 wavex webm wma wmv wv 3gp"
)
SUFFIXES = frozenset({*FORMATS, *_SAME, *_READ_ONLY.split()})  # without the dot; files with these are found in folders

_DEPTH_IN_FLAC = {"PCM_S8": "PCM_S8", "PCM_U8": "PCM_S8", "PCM_16": "PCM_16"}  # deeper than 16 bits becomes 24
_DEEP = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE"})


def same_format(suffix: str) -> str:
    """The format for `--format same`: the file's own if it can be written, m4a for MP4 films, otherwise wav.

    Example:
        >>> same_format(".FLAC"), same_format(".mov"), same_format(".mkv")
        ('flac', 'm4a', 'wav')
    """
    name = suffix.lower().lstrip(".")
    return name if name in FORMATS else _SAME.get(name, "wav")


def codec_for(name: str, source_subtype: str) -> str:
    """The subtype (libsndfile's name) in format `name` that keeps the sample depth of `source_subtype`.

    Example:
        >>> codec_for("wav", "PCM_24"), codec_for("flac", "FLOAT"), codec_for("wav", "VORBIS")
        ('PCM_24', 'PCM_24', 'PCM_16')
    """
    if name == "flac":
        return "PCM_24" if source_subtype in _DEEP else _DEPTH_IN_FLAC.get(source_subtype, "PCM_16")
    if name == "wav" and (source_subtype in _DEEP or source_subtype in {"PCM_U8", "ALAW", "ULAW"}):
        return source_subtype
    return FORMATS[name].codec


def rate_for(name: str, sample_rate: int) -> int:
    """The rate, in Hz, at which format `name` stores a signal: the same, else the next higher, else the highest.

    Example:
        >>> rate_for("opus", 44100), rate_for("mp3", 96000), rate_for("wav", 11000)
        (48000, 48000, 11000)
    """
    rates = FORMATS[name].rates or (sample_rate,)
    return next((rate for rate in rates if rate >= sample_rate), rates[-1])


def check_channels(name: str, channels: int) -> None:
    """Raise AudioError if format `name` cannot hold that many channels."""
    most = FORMATS[name].max_channels
    if not 1 <= channels <= most:
        raise AudioError(f"{name} holds 1 to {most} channels, got {channels}; choose wav or flac")
