"""Decode the links of an Ogg file with libsndfile, each through its own window, and restore the channels' WAV order."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import BinaryIO

import soundfile

from exdiff.audio.layouts import default_layout, vorbis_layout, wav_order
from exdiff.audio.reading.chain import ChainSource, Piece
from exdiff.audio.reading.ffmpeg_source import FFmpegSource
from exdiff.audio.reading.integrity import Witness
from exdiff.audio.reading.ogg import Link, Run
from exdiff.audio.reading.soundfile_source import SoundFileSource
from exdiff.audio.reading.source import Source, read_at, window
from exdiff.core.errors import AudioError

_SLACK_SECONDS = 0.5  # some encoders count a frame or more that they never wrote
_LATE_START = 5  # seconds; a stream recorded from the middle begins at any position
_TRIM = 8192  # samples; what the last position may leave out of the last packets
_PACKET = 1 << 16  # samples; the longest packets of Opus have 5760, those of Vorbis 8192
_RESTART = ("vorbis", "opus")  # codecs that can be decoded from any page on
_MAX_HEADERS = 1 << 24  # bytes, with a cover


def ogg_source(file: BinaryIO, name: str, links: list[Link], *, salvage: bool) -> Source:
    """All links, one after the other.

    Raises:
        AudioError: pages are missing or damaged, and `salvage` is not set.
    """
    for link in links:
        if not salvage and _damage(link):
            raise AudioError(f"{name}: {_damage(link)}; copy it again, or keep the rest with --salvage")
    pieces = [Piece(lambda link=link: _link_source(file, name, link, salvage=salvage)) for link in links]
    source = (
        pieces[0].open() if len(pieces) == 1 else ChainSource(name, pieces, seconds=_seconds(links), salvage=salvage)
    )
    if len(links) > 1:
        source.notes.append(f"{len(links)} links of a chained Ogg file: all are read")
    if links[-1].behind and links[-1].ended:
        source.notes.append(f"{links[-1].behind} bytes behind the sound that are not Ogg are left out")
    if not links[-1].ended and not links[-1].lacking:
        source.notes.append("its last page is not marked as such: it may have been cut")
    return source


def _seconds(links: list[Link]) -> float | None:
    """The length that the pages say; FLAC has its rate elsewhere."""
    if any(link.codecs[0] == "flac" for link in links):
        return None
    clocks = (48000 if link.codecs[0] == "opus" else int.from_bytes(link.first[12:16], "little") for link in links)
    return sum(link.granule / max(1, clock) for link, clock in zip(links, clocks, strict=True))


def _damage(link: Link) -> str:
    if len(link.runs) > 1:
        return f"damaged: pages after byte {link.runs[0].end} are missing or spoilt"
    if link.fallen:
        return f"damaged: the position of the page at byte {link.fallen} is lower than that of the one before"
    if link.lacking:
        return f"truncated, at least {link.lacking} bytes are missing at its end"
    if link.behind and not link.ended:
        return f"damaged: its last {link.behind} bytes are not Ogg"
    return ""


def _link_source(file: BinaryIO, name: str, link: Link, *, salvage: bool) -> Source:
    runs = [link.runs[0]]
    if link.codecs[0] in _RESTART and link.headers > link.start:
        runs += [run for before, run in pairwise(link.runs) if run.granule > before.granule]
    pieces = [
        Piece(
            partial(_run_source, file, name, link, run, last=run is runs[-1], salvage=salvage),
            partial(_place, link, run),
        )
        for run in runs
    ]
    return pieces[0].open() if len(pieces) == 1 else ChainSource(name, pieces, salvage=salvage)


def _run_source(file: BinaryIO, name: str, link: Link, run: Run, *, last: bool, salvage: bool) -> Source:
    first = run is link.runs[0]
    # A run after a gap needs the headers of its link.
    head = b"" if first else read_at(file, link.start, min(link.headers - link.start, _MAX_HEADERS))
    part = window(file, run.start, run.end, head)
    layout, order = _channels(link)
    failure = _damage(link) if last and (len(link.runs) == 1 or run is not link.runs[-1]) else ""
    bit_rate = None if link.codecs[0] == "flac" else _bit_rate(link)
    try:
        source = SoundFileSource(
            part, name, "ogg", layout=layout, order=order, bit_rate=bit_rate, salvage=salvage, failure=failure
        )
    except soundfile.LibsndfileError:
        source = FFmpegSource(part, name, None, format="ogg", salvage=salvage, failure=failure)
    rate = source.info.sample_rate
    if first and last and link.granule and link.begin < _LATE_START * _clock(link, rate):
        source.add_witness(Witness("its last page", _samples(link, link.granule, rate), round(_SLACK_SECONDS * rate)))
    if first and last and link.codecs[0] in _RESTART and link.begin < _LATE_START * _clock(link, rate):
        frames = _samples(link, _packets(window(file, run.start, run.end)), rate)
        said = _samples(link, link.granule, rate)
        if frames > said + _TRIM and not salvage:
            source.close()
            text = f"damaged: its last page says {said / rate:.2f} s, but its packets hold {frames / rate:.2f} s"
            raise AudioError(f"{name}: {text}; copy it again, or keep what can be read with --salvage")
        source.add_witness(Witness("its packets", frames, min(round(_SLACK_SECONDS * rate), _TRIM)))
    return source


def _packets(part: BinaryIO) -> int:
    """What the packets hold in samples of the codec's clock, whatever the pages say; 0 if FFmpeg cannot tell."""
    import av
    import av.error

    try:
        with av.open(part, "r", format="ogg", metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            return sum(
                packet.duration or 0 for packet in container.demux(stream) if 0 <= (packet.duration or 0) < _PACKET
            )
    except (av.error.FFmpegError, OSError, ValueError, IndexError):
        return 0


def _bit_rate(link: Link) -> int | None:
    """Of the pages behind the headers, in bits per second."""
    at = 12 if link.codecs[0] == "vorbis" else 0
    clock = 48000 if not at else int.from_bytes(link.first[at : at + 4], "little")
    size = link.end - max(link.headers, link.start)
    return round(8 * size * clock / link.granule) if link.granule and clock else None


def _clock(link: Link, rate: int) -> int:
    return 48000 if link.codecs[0] == "opus" else rate


def _samples(link: Link, granule: int, rate: int) -> int:
    """The number of samples up to a page's position."""
    skip = int.from_bytes(link.first[10:12], "little") if link.codecs[0] == "opus" else 0
    return max(0, granule - skip) * rate // _clock(link, rate)


def _place(link: Link, run: Run, source: Source) -> int:
    """Where the samples of a run belong within its link: they end at its last position."""
    if run is link.runs[0]:
        return 0
    return max(0, _samples(link, run.granule, source.info.sample_rate) - (source.info.frames or 0))


def _channels(link: Link) -> tuple[tuple[str, ...], list[int] | None]:
    """(names in WAV order, for each its number in the file or None)."""
    codec, first = link.codecs[0], link.first
    if codec == "flac":
        channels = (first[29] >> 1 & 7) + 1 if len(first) > 29 else 0
        return default_layout(channels), None
    channels = first[11 if codec == "vorbis" else 9] if len(first) > 18 else 0
    if codec == "opus" and first[18:19] not in (b"\0", b"\1"):
        return (), None
    names = vorbis_layout(channels)
    layout = wav_order(names)
    order = [names.index(name) for name in layout]
    return layout, None if order == list(range(channels)) else order
