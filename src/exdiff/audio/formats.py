"""File formats by name: the suffixes that are read and the formats of `--format`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exdiff.audio.codecs import CODECS, CONTAINERS, rate_of
from exdiff.audio.info import AudioInfo
from exdiff.audio.targets import Target, choose_target
from exdiff.core.errors import AudioError


@dataclass(frozen=True)
class Format:
    """A format that `--format` names.

    Attributes:
        container, codec: keys of `CONTAINERS` and `CODECS`; the codec is the usual one.
    """

    container: str
    codec: str

    @property
    def lossy(self) -> bool:
        """Whether the codec takes values over full scale, so that nothing is clipped here."""
        return CODECS[self.codec].lossy

    @property
    def rates(self) -> tuple[int, ...]:
        """Those that the codec supports, in Hz, increasing; empty for all."""
        return CODECS[self.codec].rates

    @property
    def max_channels(self) -> int:
        """Of the codec."""
        return CODECS[self.codec].max_channels


FORMATS: dict[str, Format] = {
    "wav": Format("wav", "pcm_s16le"),
    "flac": Format("flac", "flac"),
    "mp3": Format("mp3", "mp3"),
    "ogg": Format("ogg", "vorbis"),
    "opus": Format("ogg", "opus"),
    "m4a": Format("mp4", "aac"),
}

_SAME = {"oga": "ogg", "mp4": "m4a", "m4v": "m4a", "mov": "m4a", "m4b": "m4a", "aac": "m4a", "wave": "wav"}
_READ_ONLY = (
    "3gp 3g2 aa amr ape asf avi dsf dts dtshd f4v flv g722 mp1 mpc mpeg mpg mxf nut ogv ogx ra rm shn "
    "spx tak thd vob voc wavex wma wmv"
)
# Without the dot; files with these are found in folders.
SUFFIXES = frozenset({*_READ_ONLY.split(), *(name for one in CONTAINERS.values() for name in one.suffixes)})


def same_format(suffix: str) -> str:
    """The format of `FORMATS` nearest to a suffix: the file's own, m4a for MP4 films, otherwise wav.

    Example:
        >>> same_format(".FLAC"), same_format(".mov"), same_format(".mkv")
        ('flac', 'm4a', 'wav')
    """
    name = suffix.lower().lstrip(".")
    return name if name in FORMATS else _SAME.get(name, "wav")


def rate_for(name: str, sample_rate: int) -> int:
    """The rate, in Hz, at which format `name` stores a signal: the same, else the next higher, else the highest.

    Example:
        >>> rate_for("opus", 44100), rate_for("mp3", 96000), rate_for("wav", 11000)
        (48000, 48000, 11000)
    """
    return rate_of(FORMATS[name].codec, sample_rate)


def check_channels(name: str, channels: int) -> None:
    """Raise AudioError if format `name` cannot hold that many channels."""
    most = FORMATS[name].max_channels
    if not 1 <= channels <= most:
        raise AudioError(f"{name} holds 1 to {most} channels, got {channels}; choose wav or flac")


# libsndfile's names of encodings: the codec and its depth.
_SUBTYPES = {
    **{f"PCM_{bits}": (f"pcm_s{bits}le", bits) for bits in (16, 24, 32)},
    **{f"PCM_{kind}8": (f"pcm_{kind.lower()}8", 8) for kind in "SU"},
    **{"FLOAT": ("pcm_f32le", 0), "DOUBLE": ("pcm_f64le", 0), "ULAW": ("pcm_mulaw", 0), "ALAW": ("pcm_alaw", 0)},
    **{f"ALAC_{bits}": ("alac", bits) for bits in (16, 20, 24, 32)},
}


def target_for(path: Path, format: str | None, subtype: str, sample_rate: int, channels: int) -> Target:
    """The target for libsndfile's name of an encoding; `format` None means the suffix of `path`.

    Raises:
        AudioError: unknown format, or too many channels.

    Example:
        >>> target_for(Path("x.wav"), None, "PCM_24", 8000, 1).codec
        'pcm_s24le'
    """
    codec, bits = _SUBTYPES.get(subtype, ("", 16))
    info = AudioInfo(sample_rate, channels, None, subtype, codec, bits=bits)
    try:
        return choose_target(info, path.suffix, format=format or path.suffix.lstrip("."))[0]
    except AudioError as error:
        raise AudioError(f"cannot write {path.name}: {error}") from error
