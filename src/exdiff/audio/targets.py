"""Choose what is written: as much like the input as can be, unless the options say otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exdiff.audio.codecs import CODECS, CONTAINERS, Codec, bit_rate_of, rate_of
from exdiff.audio.info import AudioInfo
from exdiff.audio.layouts import back_for_side, default_layout
from exdiff.core.config import nearest
from exdiff.core.errors import AudioError

# What files are written as whose suffix says that they cannot stay what they are.
_LOSSLESS_ELSEWHERE = frozenset("ape shn tak la ofr mlp thd dsf dff".split())  # noqa: SIM905
_PCM_ELSEWHERE = frozenset("voc sph nist avr ircam sd2 xi raw pcm pvf htk svx iff wavex g722".split())  # noqa: SIM905
_FILMS_ELSEWHERE = frozenset("avi vob mpg mpeg m2v dv mxf divx m1v".split())  # noqa: SIM905
_FORMAT_CODECS = {"opus": "opus", "ogg": "vorbis", "m4a": "aac", "m4b": "aac", "mp4": "aac"}
_KEEPS_PICTURE = frozenset({"mp4", "mov", "mkv", "webm", "ts"})
_NAMES = {"dca": "dts"}  # FFmpeg calls the decoder otherwise


@dataclass(frozen=True)
class Target:
    """What a file is written as.

    Attributes:
        container, codec: keys of `CONTAINERS` and `CODECS`.
        suffix: of the file, with its dot.
        bits: depth of integer samples; 0 for float and lossy codecs.
        bit_rate: in bit/s; None for lossless codecs, and for the usual quality of the encoder.
        sample_rate: of the file, in Hz.
        layout: channel names in WAV order; () if unknown, which only some codecs can store.
    """

    container: str
    codec: str
    suffix: str
    bits: int
    bit_rate: int | None
    sample_rate: int
    layout: tuple[str, ...]


def plan_suffix(path: str | Path, format: str = "same", *, keep_video: bool = False) -> tuple[str, str]:
    """The suffix of the result (with its dot) and a line that says why, if it is not the file's own ("" otherwise).

    Nothing is read. A film that keeps its picture, in a container that cannot be written, becomes Matroska.

    Raises:
        AudioError: unknown format.

    Example:
        >>> plan_suffix("talk.M4B"), plan_suffix("talk.wav", "opus")
        (('.M4B', ''), ('.opus', ''))
        >>> plan_suffix("talk.wma")
        ('.m4a', '.wma cannot be written; the result is .m4a')
    """
    own = Path(path).suffix
    name = own.lower().lstrip(".")
    if format != "same":
        _container_for(format)
        if keep_video and _container_for(format) not in _KEEPS_PICTURE:
            raise AudioError(f"{format} holds no picture; choose mp4, mov or mkv, or leave out --keep-video")
        return f".{format.lower()}", ""
    known = [key for key, container in CONTAINERS.items() if name in container.suffixes]
    if keep_video:
        if any(key in _KEEPS_PICTURE for key in known):
            return own, ""
        return ".mkv", f"{own} cannot be written with its picture; the result is .mkv"
    if known:
        return own, ""
    if name in _LOSSLESS_ELSEWHERE:
        other = ".flac"
    elif name in _PCM_ELSEWHERE or not name:
        other = ".wav"
    else:
        other = {"spx": ".opus", "ogv": ".ogg", "ogx": ".ogg"}.get(name, ".m4a")
        other = ".mka" if name in _FILMS_ELSEWHERE else other
    if name == "spx":
        return other, ""  # `choose_target` names the codec
    return other, f"{own or 'a name without suffix'} cannot be written; the result is {other}"


def choose_target(
    info: AudioInfo,
    suffix: str,
    *,
    format: str = "same",
    bit_depth: int | str | None = None,
    bitrate: int | None = None,
) -> tuple[Target, list[str]]:
    """What to write for a source, and one line for each thing that cannot be as it was.

    Args:
        info: of the source.
        suffix: of the result, as `plan_suffix` gives it.
        format: "same", or a format or suffix that can be written ("wav", "flac", "mp3", "m4a", "ogg", "opus", ...).
        bit_depth: 16, 24, 32 or "float" for lossless targets; None for that of the source.
        bitrate: kbit/s for lossy targets; None for about that of the source if the codec stays, else the usual one.

    Raises:
        AudioError: unknown format, a depth that it does not have, or channels that it cannot hold.

    Example:
        >>> info = AudioInfo(44100, 2, None, "alac", "alac", "mp4", None, ("FL", "FR"), 24)
        >>> target, notes = choose_target(info, ".m4b")
        >>> target.container, target.codec, target.bits, notes
        ('mp4', 'alac', 24, [])
    """
    notes: list[str] = []
    container, codec = _codec(info, suffix, format, bit_depth, notes)
    spec = CODECS[codec]
    rate = rate_of(codec, info.sample_rate)
    if rate != info.sample_rate:
        notes.append(f"{codec} does not have {info.sample_rate} Hz; {rate} Hz is written")
    layout = _layout(info, codec, notes)
    bits = _bits(info, codec, spec, bit_depth, notes)
    bit_rate = _bit_rate(info, codec, rate, bitrate, notes)
    suffix = suffix or f".{CONTAINERS[container].suffixes[0]}"
    return Target(container, codec, suffix, bits, bit_rate, rate, layout), notes


def _bit_rate(info: AudioInfo, codec: str, sample_rate: int, bitrate: int | None, notes: list[str]) -> int | None:
    if bitrate is None:
        wanted = info.bit_rate if codec == info.codec else None
        return None if wanted is None else bit_rate_of(codec, wanted, sample_rate, info.channels)
    chosen = bit_rate_of(codec, 1000 * bitrate, sample_rate, info.channels)
    if chosen is None:
        notes.append(f"--bitrate has no effect on {codec}, which is lossless")
    elif chosen != 1000 * bitrate:
        notes.append(f"{codec} does not have {bitrate} kbit/s here; {chosen // 1000} kbit/s is written")
    return chosen


def _container_for(name: str) -> str:
    name = name.lower().lstrip(".")
    for key, container in CONTAINERS.items():
        if name == container.suffixes[0] or name == key:
            return key
    for key, container in CONTAINERS.items():
        if name in container.suffixes:
            return key
    known = sorted({suffix for container in CONTAINERS.values() for suffix in container.suffixes})
    raise AudioError(f"unknown format {name!r}{nearest(name, known)}; allowed are {', '.join(known)}")


def _codec(info: AudioInfo, suffix: str, format: str, bit_depth: int | str | None, notes: list[str]) -> tuple[str, str]:
    """Container and codec."""
    name = (suffix if format == "same" else format).lower().lstrip(".")
    container = _container_for(name)
    if info.container in CONTAINERS and name in CONTAINERS[info.container].suffixes:
        container = info.container
    allowed = CONTAINERS[container].codecs
    lossless = info.bits > 0 or info.codec.startswith("pcm_")
    if format != "same" and name in _FORMAT_CODECS:
        codec = _FORMAT_CODECS[name]
    elif info.codec in allowed and (container != "ogg" or name != "opus" or info.codec == "opus"):
        codec = info.codec
    else:
        codec = _nearest_codec(info, allowed, lossless, name)
    if bit_depth is not None and codec.startswith("pcm_"):
        codec = _pcm(0 if bit_depth == "float" else int(bit_depth), allowed)
    # `plan_suffix` has already named a container that cannot be written.
    if (
        format == "same"
        and info.container in CONTAINERS
        and codec != info.codec
        and not (lossless and not CODECS[codec].lossy)
    ):
        notes.append(f"{_NAMES.get(info.codec, info.codec)} cannot be written in {suffix}; {codec} is written instead")
    return container, codec


def _nearest_codec(info: AudioInfo, allowed: tuple[str, ...], lossless: bool, name: str) -> str:
    if name == "opus":
        return "opus"
    if (pcm := allowed[0]).startswith("pcm_"):
        if not lossless:
            return pcm
        wanted = info.bits or (0 if "f" in info.codec.removeprefix("pcm_") or not info.bits else 16)
        return _pcm(64 if info.codec.startswith("pcm_f64") else wanted, allowed)
    if lossless:
        mp4 = "pcm_s16be" in allowed or allowed == CONTAINERS["mp4"].codecs  # mov too
        order = ("alac", "flac") if mp4 else ("flac", "wavpack", "tta")
        return next((codec for codec in order if codec in allowed), allowed[0])
    return next((codec for codec in allowed if CODECS[codec].lossy), allowed[0])


def _pcm(bits: int, allowed: tuple[str, ...]) -> str:
    """The PCM codec with that depth, in the byte order that the container prefers; bits 0 and 64 mean float."""
    kind = {0: "f32", 64: "f64", 8: "u8"}.get(bits, f"s{bits}")
    for codec in allowed:
        if codec.removeprefix("pcm_").startswith((kind, "s8" if bits == 8 else kind)):
            return codec
    if bits in (8, 12, 20):
        return _pcm(16 if bits < 16 else 24, allowed)
    raise AudioError(f"PCM has 16, 24 or 32 bits or float, got {bits}")


def _bits(info: AudioInfo, codec: str, spec: Codec, bit_depth: int | str | None, notes: list[str]) -> int:
    if not spec.bits:
        if bit_depth is not None and spec.lossy:
            notes.append(f"--bit-depth has no effect on {codec}, which has no sample depth")
        return 0
    if bit_depth is not None:
        wanted = 0 if bit_depth == "float" else int(bit_depth)
        if wanted not in spec.bits:
            raise AudioError(
                f"{codec} stores {' or '.join(map(str, spec.bits))} bits, got --bit-depth {bit_depth}; choose wav"
            )
        return wanted
    deep = not info.bits and info.codec.startswith("pcm_f")  # a float's 24 significant bits
    wanted = 24 if deep else info.bits or 16
    chosen = next((bits for bits in spec.bits if bits >= wanted), spec.bits[-1])
    if chosen < wanted or (deep and chosen == spec.bits[-1] and chosen < 24):
        notes.append(f"{codec} stores {chosen} bits; the samples have {wanted}")
    return chosen


def _layout(info: AudioInfo, codec: str, notes: list[str]) -> tuple[str, ...]:
    spec = CODECS[codec]
    if info.channels > spec.max_channels:
        raise AudioError(f"{codec} holds 1 to {spec.max_channels} channels, got {info.channels}; choose wav or flac")
    layout = info.layout or (default_layout(info.channels) if spec.layouts else ())
    if not spec.layouts or layout in spec.layouts:
        return layout
    if back_for_side(layout) in spec.layouts:
        notes.append(
            f"{codec} does not have the layout {' '.join(layout)}; its side channels are stored as back channels"
        )
        return back_for_side(layout)
    if layout in spec.nameless:
        return layout
    if info.channels == 1:
        notes.append(f"{codec} stores the only channel ({' '.join(layout)}) as mono")
        return ("FC",)
    raise AudioError(f"{codec} cannot store the channels {' '.join(layout)}; choose wav or flac")
