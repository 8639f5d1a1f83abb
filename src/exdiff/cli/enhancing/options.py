"""The choices of one `exdiff enhance` run, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError
from exdiff.core.stems import STEMS

RESULT = "enhanced"
PIPE = "-"
PIPE_FORMATS = ("same", "wav", "flac")
# Of raw PCM: NumPy's dtype and the bits of an integer sample, 0 for float.
RAW_FORMATS: dict[str, tuple[str, int]] = {
    "u8": ("u1", 8),
    "s8": ("i1", 8),
    "s16le": ("<i2", 16),
    "s16be": (">i2", 16),
    "s24le": ("<i3", 24),
    "s24be": (">i3", 24),
    "s32le": ("<i4", 32),
    "s32be": (">i4", 32),
    "f32le": ("<f4", 0),
    "f32be": (">f4", 0),
    "f64le": ("<f8", 0),
    "f64be": (">f8", 0),
}
_MOST_CHANNELS, _MOST_RATE = 1024, 1_536_000


class OutputFormat(StrEnum):
    """The formats of results."""

    same = "same"
    wav = "wav"
    flac = "flac"
    mp3 = "mp3"
    m4a = "m4a"
    ogg = "ogg"
    opus = "opus"


class BitDepth(StrEnum):
    """The sample formats of PCM results."""

    b16 = "16"
    b24 = "24"
    b32 = "32"
    float = "float"


class Stem(StrEnum):
    """The stems of a song."""

    vocals = STEMS[0]
    accompaniment = STEMS[1]


class RawFormat(NamedTuple):
    """Raw PCM: a key of `RAW_FORMATS`, Hz, and the number of interleaved channels."""

    name: str
    rate: int
    channels: int

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read `FORMAT,RATE,CHANNELS`.

        Raises:
            ConfigError: not of that form.

        Example:
            >>> RawFormat.parse("s16le,48000,2")
            RawFormat(name='s16le', rate=48000, channels=2)
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() for part in parts[1:]):
            raise ConfigError(f"--raw {text!r}: give FORMAT,RATE,CHANNELS, as in s16le,48000,2")
        if parts[0] not in RAW_FORMATS:
            raise ConfigError(f"--raw {text!r}: unknown format {parts[0]!r}{nearest(parts[0], RAW_FORMATS)}")
        rate, channels = int(parts[1]), int(parts[2])
        if not 1 <= rate <= _MOST_RATE or not 1 <= channels <= _MOST_CHANNELS:
            raise ConfigError(f"--raw {text!r}: allowed are 1 to {_MOST_RATE} Hz and 1 to {_MOST_CHANNELS} channels")
        return cls(parts[0], rate, channels)


def parse_part(text: str) -> tuple[int, int]:
    """Read `I/N`: part I of N, from 1.

    Raises:
        ConfigError: not of that form.

    Example:
        >>> parse_part("3/64")
        (3, 64)
    """
    number, slash, count = text.partition("/")
    numeric = slash and all(part.isascii() and part.isdecimal() for part in (number, count))
    if numeric and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise ConfigError(f"--part {text!r}: give I/N with I from 1 to N, as in 3/64")


@dataclass(frozen=True)
class Options:
    """How the files of a run are enhanced; it travels to the processes of --jobs.

    Attributes:
        model: a model's name or a checkpoint's path.
        loading: further arguments of `exdiff.inference.loading.load`.
        whats: what is written of each input: the result, both stems, or one of them.
        bitrate: kbit/s.
        name: the template of names, if given.
        stream: index of the audio stream, if given.
        json: print a record of each file on standard output.
    """

    model: str = "speech"
    loading: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    strength: float = 1.0
    whats: tuple[str, ...] = (RESULT,)
    format: str = "same"
    bit_depth: str | None = None
    bitrate: int | None = None
    name: str | None = None
    stream: int | None = None
    strip_metadata: bool = False
    keep_video: bool = False
    salvage: bool = False
    raw: RawFormat | None = None
    threads: int | None = None
    jobs: int = 1
    skip_existing: bool = False
    overwrite: bool = False
    json: bool = False

    def check(self) -> Options:
        """The options unchanged, if they go together.

        Raises:
            ConfigError: two options exclude each other.
        """
        if self.skip_existing and self.overwrite:
            raise ConfigError("--skip-existing and --overwrite exclude each other; leave one out")
        if self.bit_depth is not None and self.bitrate is not None:
            raise ConfigError("--bit-depth is for PCM and --bitrate for lossy codecs; leave one out")
        if self.raw is not None:
            for name, used in (("--stream", self.stream is not None), ("--keep-video", self.keep_video)):
                if used:
                    raise ConfigError(f"raw PCM has neither streams nor a picture; leave {name} or --raw out")
        if self.keep_video and self.format != "same":
            raise ConfigError("--keep-video keeps the container of the video; leave it or --format out")
        return self

    @property
    def stems(self) -> bool:
        """Whether stems are written, instead of the result."""
        return self.whats != (RESULT,)


def chosen_whats(stems: bool, stem: Stem | None) -> tuple[str, ...]:
    """What is written of each input.

    Example:
        >>> chosen_whats(True, None), chosen_whats(False, Stem.vocals)
        (('vocals', 'accompaniment'), ('vocals',))

    Raises:
        ConfigError: both are asked for.
    """
    if stems and stem is not None:
        raise ConfigError("--stems writes both stems and --stem one of them; leave one out")
    if stem is not None:
        return (stem.value,)
    return STEMS if stems else (RESULT,)
