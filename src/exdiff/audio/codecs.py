"""What can be written: the codecs with the rates, depths and bit rates of their encoders, and the containers."""

from __future__ import annotations

from dataclasses import dataclass

from exdiff.audio.layouts import default_layout

MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_LAYER_2_KBIT = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_2_LOW_KBIT = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # below 32 kHz, as in layer 3
_LAYER_3_KBIT = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_AC3_KBIT = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


@dataclass(frozen=True)
class Codec:
    """A codec that can be written.

    Attributes:
        bits: depths that it stores, increasing; empty for float and lossy codecs.
        rates: those that the encoder supports, in Hz, increasing; empty for all.
        max_channels: of the encoder.
        layouts: channel layouts that the encoder takes, in WAV order; empty for all.
        nameless: layouts that it takes too, but does not name in the file.
        bit_rates: lowest, usual and highest bit rate of one channel in bit/s; zeros for lossless codecs.
        delay: samples that come out of the decoder before the first one, if the container does not say so.
        frame: samples in a packet.
    """

    bits: tuple[int, ...] = ()
    rates: tuple[int, ...] = ()
    max_channels: int = 8
    layouts: tuple[tuple[str, ...], ...] = ()
    nameless: tuple[tuple[str, ...], ...] = ()
    bit_rates: tuple[int, int, int] = (0, 0, 0)
    delay: int = 0
    frame: int = 0

    @property
    def lossy(self) -> bool:
        """Whether the codec has a bit rate to choose."""
        return self.bit_rates[1] > 0


def _layouts(*rows: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(row.split()) for row in rows)


_ORDINARY = tuple(default_layout(channels) for channels in range(1, 9))
_UP_TO_5 = _layouts(
    *("FC", "FL FR", "FL FR FC", "FL FR LFE", "FL FR BC", "FL FR BL BR", "FL FR SL SR", "FL FR FC BC", "FL FR FC LFE"),
    *("FL FR FC BL BR", "FL FR FC SL SR", "FL FR FC LFE BL BR", "FL FR FC LFE SL SR", "FL FR FC LFE BC"),
)
_AC3_LAYOUTS = (*_UP_TO_5, *_layouts("FC LFE", "FL FR LFE BC", "FL FR LFE BL BR", "FL FR LFE SL SR"))
_AAC_LAYOUTS = _layouts(
    *("FC", "FL FR", "FL FR FC", "FL FR LFE", "FL FR BC", "FL FR BL BR", "FL FR FC BC", "FL FR FC BL BR"),
    *("FL FR FC LFE BL BR", "FL FR FC LFE BL BR SL SR"),
)
# Stored in this order, but FFmpeg's decoder gives these channels no names.
_AAC_NAMELESS = _layouts(
    *("FL FR FC LFE", "FL FR FC LFE BC", "FL FR FC BC SL SR", "FL FR FC BL BR BC", "FL FR FLC FRC SL SR"),
    *("FL FR FC LFE BC SL SR", "FL FR FC LFE BL BR BC", "FL FR LFE FLC FRC SL SR", "FL FR FC BL BR SL SR"),
    *("FL FR FC FLC FRC SL SR", "FL FR FC LFE BL BR FLC FRC", "FL FR FC LFE FLC FRC SL SR", "FL FR FC BL BR BC SL SR"),
)
_ALAC_LAYOUTS = _layouts(
    *("FC", "FL FR", "FL FR FC", "FL FR FC BC", "FL FR FC BL BR", "FL FR FC LFE BL BR"),
    *("FL FR FC LFE BL BR BC", "FL FR FC LFE BL BR FLC FRC"),
)
_AC3 = Codec(
    rates=(32000, 44100, 48000),
    max_channels=6,
    layouts=_AC3_LAYOUTS,
    bit_rates=(32000, 96000, 640000),
    delay=256,
    frame=1536,
)

CODECS: dict[str, Codec] = {
    **{f"pcm_s{bits}{end}": Codec((bits,), max_channels=1024) for bits in (16, 24, 32) for end in ("le", "be")},
    **{name: Codec((8,), max_channels=1024) for name in ("pcm_u8", "pcm_s8")},
    **{f"pcm_f{bits}{end}": Codec(max_channels=1024) for bits in (32, 64) for end in ("le", "be")},
    **{name: Codec(max_channels=1024) for name in ("pcm_mulaw", "pcm_alaw")},
    "flac": Codec((8, 16, 24)),
    "alac": Codec((16, 24), layouts=_ALAC_LAYOUTS),
    "wavpack": Codec((16, 24)),  # FFmpeg cannot read back what it writes with 32 bits if a block is short
    "tta": Codec((16, 24), max_channels=2),  # FFmpeg 5 does not read 3 or 5
    "mp3": Codec(rates=MPEG_RATES, max_channels=2, bit_rates=(8000, 80000, 320000), delay=1105, frame=1152),
    "mp2": Codec(rates=MPEG_RATES[3:], max_channels=2, bit_rates=(8000, 96000, 384000), delay=481, frame=1152),
    "aac": Codec(
        rates=(*MPEG_RATES, 64000, 88200, 96000),
        layouts=_AAC_LAYOUTS,
        nameless=_AAC_NAMELESS,
        bit_rates=(12000, 96000, 288000),
        delay=1024,
        frame=1024,
    ),
    "vorbis": Codec(layouts=_ORDINARY, bit_rates=(22000, 64000, 250000)),
    "opus": Codec(rates=(8000, 12000, 16000, 24000, 48000), layouts=_ORDINARY, bit_rates=(6000, 64000, 256000)),
    "ac3": _AC3,
    "eac3": _AC3,
}


def rate_of(codec: str, sample_rate: int) -> int:
    """The rate, in Hz, at which `codec` stores a signal: the same, else the next higher, else the highest.

    Example:
        >>> rate_of("opus", 44100), rate_of("ac3", 96000), rate_of("flac", 11000)
        (48000, 48000, 11000)
    """
    rates = CODECS[codec].rates or (sample_rate,)
    return next((rate for rate in rates if rate >= sample_rate), rates[-1])


def bit_rate_of(codec: str, wanted: int | None, sample_rate: int, channels: int) -> int | None:
    """The bit rate, in bit/s, nearest to `wanted` that the encoder takes; the usual one for None; None if lossless.

    Example:
        >>> bit_rate_of("mp3", 187000, 44100, 2), bit_rate_of("flac", 320000, 44100, 2)
        (192000, None)
    """
    spec = CODECS[codec]
    if not spec.lossy:
        return None
    low, usual, high = (channels * rate for rate in spec.bit_rates)
    if codec == "aac":  # at most 6144 bits for a channel's frame of 1024 samples
        usual, high = min(usual, 4 * sample_rate * channels), min(high, 6 * sample_rate * channels)
    wanted = usual if wanted is None else max(low, min(wanted, high))
    if codec == "mp3":
        steps = _LAYER_3_KBIT if sample_rate >= 32000 else _LAYER_2_LOW_KBIT
        steps = steps if sample_rate >= 16000 else _LAYER_2_LOW_KBIT[:8]
    elif codec == "mp2":
        steps = _LAYER_2_KBIT if sample_rate >= 32000 else _LAYER_2_LOW_KBIT
        if sample_rate >= 32000:  # table 3-B.2 of ISO/IEC 11172-3 allows the ends for one number of channels each
            steps = tuple(kbit for kbit in steps if (kbit <= 192 if channels == 1 else kbit >= 64 and kbit != 80))
    elif codec == "ac3":
        steps = tuple(kbit for kbit in _AC3_KBIT if 1000 * kbit >= low)
    else:
        return wanted
    return 1000 * min(steps, key=lambda kbit: (abs(1000 * kbit - wanted), -kbit))


@dataclass(frozen=True)
class Container:
    """A container that can be written.

    Attributes:
        suffixes: without the dot; the first is the usual one.
        codecs: that it may hold; the first is the usual one.
        muxer: FFmpeg's name; empty if libsndfile writes it.
        major: libsndfile's name.
    """

    suffixes: tuple[str, ...]
    codecs: tuple[str, ...]
    muxer: str = ""
    major: str = ""


_LITTLE = ("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_u8", "pcm_mulaw", "pcm_alaw")
_BIG = ("pcm_s16be", "pcm_s24be", "pcm_s32be", "pcm_f32be", "pcm_f64be", "pcm_mulaw", "pcm_alaw", "pcm_s8")
_IN_MP4 = ("aac", "alac", "mp3", "ac3", "eac3", "opus", "flac")
_IN_MKV = ("aac", "opus", "vorbis", "flac", "mp3", "mp2", "ac3", "eac3", "wavpack", "alac", *_LITTLE[:6])

CONTAINERS: dict[str, Container] = {
    "wav": Container(("wav", "wave", "bwf"), _LITTLE, major="WAV"),
    "rf64": Container(("rf64", "wav", "bw64"), _LITTLE, major="RF64"),
    "w64": Container(("w64",), _LITTLE, major="W64"),
    "aiff": Container(("aiff", "aif"), _BIG, major="AIFF"),
    "aifc": Container(("aifc", "aiff", "aif"), (*_BIG, "pcm_s16le"), major="AIFF"),
    "caf": Container(("caf",), (*_LITTLE[:5], *_BIG), major="CAF"),
    "au": Container(("au", "snd"), _BIG, major="AU"),
    "flac": Container(("flac",), ("flac",), major="FLAC"),
    "ogg": Container(("ogg", "oga", "opus"), ("vorbis", "opus", "flac"), muxer="ogg"),
    "mp3": Container(("mp3",), ("mp3",), muxer="mp3"),
    "mp4": Container(("m4a", "m4b", "mp4", "m4v"), _IN_MP4, muxer="mp4"),
    "mov": Container(("mov", "qt"), ("aac", "alac", "mp3", "ac3", "eac3", *_LITTLE[:5], *_BIG), muxer="mov"),
    "mkv": Container(("mka", "mkv"), _IN_MKV, muxer="matroska"),
    "webm": Container(("webm", "weba"), ("opus", "vorbis"), muxer="webm"),
    "adts": Container(("aac", "adts"), ("aac",), muxer="adts"),
    "ts": Container(("ts", "mts", "m2ts"), ("aac", "mp2", "ac3", "eac3"), muxer="mpegts"),
    "ac3": Container(("ac3",), ("ac3",), muxer="ac3"),
    "eac3": Container(("eac3", "ec3"), ("eac3",), muxer="eac3"),
    "mp2": Container(("mp2", "mpa"), ("mp2",), muxer="mp2"),
    "wv": Container(("wv",), ("wavpack",), muxer="wv"),
    "tta": Container(("tta",), ("tta",), muxer="tta"),
}
