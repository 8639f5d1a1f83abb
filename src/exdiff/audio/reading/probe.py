"""Choose the decoder for a file from its content, never from its name: the one place that decides.

WAV RF64 BW64 W64 AIFF AIFF-C CAF AU of PCM   libsndfile, behind a header written from what was found (riff, iff)
FLAC                                          libsndfile, one piece for each STREAMINFO; its MD5 sum is checked
Ogg with one stream at a time                 libsndfile, one piece for each link (ogg)
MP3, MP2, ADTS                                FFmpeg's decoders, frame by frame (mpeg)
everything else, and what libsndfile refuses  FFmpeg's demuxers and decoders (ffmpeg_source)
WAV and FLAC from a pipe, headerless PCM      FFmpeg, as a stream
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import soundfile

from exdiff.audio.reading import native_flac
from exdiff.audio.reading.chain import ChainSource, Piece
from exdiff.audio.reading.ffmpeg_source import FFmpegSource
from exdiff.audio.reading.iff import aiff_parts, au_part, caf_part
from exdiff.audio.reading.integrity import Witness, missing_bytes
from exdiff.audio.reading.mpeg import Stream, free_format, read_streams, skip_tags
from exdiff.audio.reading.mpeg_source import MpegSource
from exdiff.audio.reading.ogg import read_links
from exdiff.audio.reading.ogg_source import ogg_source
from exdiff.audio.reading.parts import Part
from exdiff.audio.reading.riff import is_bitstream, riff_parts
from exdiff.audio.reading.soundfile_source import SoundFileSource
from exdiff.audio.reading.source import Counter, Pipe, Source, file_size, read_at, seekable, window
from exdiff.audio.reading.tail import sound_end, wavpack_end
from exdiff.core.errors import AudioError

_RIFF = (b"RIFF", b"RF64", b"BW64", b"RIFX")
_PCM_CONTAINERS = {b"caff": caf_part, b".snd": au_part, b"dns.": au_part}
# Containers in whose data a search for MPEG frames would only waste time.
_OTHERS = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"FLV", b"#!AMR", b"wvpk", b"TTA", b"MAC ", b"\x0bw", b"\x7f\xfe\x80\x01")
_OTHERS += (b"\xfe\x7f\x01\x80", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b".RMF", b"tBaK", b"ADIF", b"Creative")

# Files of nothing but frames, behind which there may be a tag or zeros.
_TAGGED = (b"wvpk", b"TTA", b"MAC ", b"\x0bw", b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"#!AMR", b"tBaK", b"0&\xb2u")
_TAGGED += (b"G",)


def open_source(
    file: BinaryIO, name: str, stream: int | None, *, salvage: bool = False, raw: tuple[str, int, int] | None = None
) -> Source:
    """The source for a stream of an open file.

    Args:
        file: the file, see `at_hand`; a pipe is decoded as it comes.
        name: for messages.
        stream: index among the audio streams, None for the default one.
        salvage: report what is missing instead of an error.
        raw: (sample format, rate, channels) of PCM without a header.

    Raises:
        AudioError: no decoder reads it, or there is no such stream.
    """
    if raw is not None:
        return _raw(file, name, stream, raw, salvage=salvage)
    if isinstance(file, Pipe):
        return _piped(file, name, stream, salvage=salvage)
    if not (size := file_size(file)):
        raise AudioError(f"{name}: empty (0 bytes); an audio or video file is needed")
    source = _own(file, name, size, salvage=salvage)
    if source is None:
        return _ffmpeg(file, name, stream, size, salvage=salvage)
    if stream:
        source.close()
        raise AudioError(f"{name}: has 1 audio stream, got stream {stream}; streams are counted from 0")
    return source


def _ffmpeg(file: BinaryIO, name: str, stream: int | None, size: int, *, salvage: bool) -> Source:
    """FFmpeg's demuxer and decoder, which get no tags and zeros behind files of nothing but frames."""
    start = skip_tags(file)
    head = read_at(file, start, 4)
    end, note = sound_end(file, start, size) if head.startswith(_TAGGED) else (size, "")
    if head == b"wvpk":
        end = wavpack_end(file, start, size)
    if end < size:
        source = FFmpegSource(window(file, start, end), name, stream, salvage=salvage)
        source.notes += [note] if note else []
        return source
    path = Path(name) if isinstance(file, io.BufferedReader) and name != "-" else None
    return FFmpegSource(file, name, stream, path=path, salvage=salvage, failure=missing_bytes(file, size))


def _raw(file: BinaryIO, name: str, stream: int | None, raw: tuple[str, int, int], *, salvage: bool) -> Source:
    kind, rate, channels = raw
    headed = seekable(file) and read_at(file, 0, 4) in (*_RIFF, b"FORM", b"fLaC", b"OggS", b"caff")
    if seekable(file):
        file.seek(0)
    options = {"sample_rate": str(rate), "ch_layout": f"{channels}c"}
    counter = Counter(file)
    check = partial(_partial_sample, counter, channels * _raw_width(kind))
    part = cast(BinaryIO, counter)
    source = FFmpegSource(part, name, stream, format=kind, options=options, salvage=salvage, check=check)
    source.info, source.seconds = replace(source.info, container="raw"), None
    if headed:
        source.notes.append("it has the header of an audio file, which --raw takes for sound")
    return source


def _raw_width(kind: str) -> int:
    """Bytes of a sample in FFmpeg's raw format `kind` ("s16le", "f32be", "mulaw")."""
    return int("".join(filter(str.isdigit, kind)) or 8) // 8


def _partial_sample(counter: Counter, size: int) -> str:
    rest = counter.count % size
    return f"it ends within a sample: {rest} of {size} bytes" if rest else ""


def _piped(pipe: Pipe, name: str, stream: int | None, *, salvage: bool) -> Source:
    """FFmpeg decodes a stream as it comes; the headers at its beginning say how long it should be."""
    source = FFmpegSource(cast(BinaryIO, pipe), name, stream, salvage=salvage)
    if source.info.container in ("wav", "w64") and (parts := riff_parts(io.BytesIO(pipe.head))) and parts[0].declared:
        source.add_witness(Witness("its header", parts[0].declared, surplus=0))
    return source


def _own(file: BinaryIO, name: str, size: int, *, salvage: bool) -> Source | None:
    """The source of a file whose structure is read here, or None."""
    start = skip_tags(file)
    head = read_at(file, start, 12)
    try:
        if (head[:4] in _RIFF and head[8:] == b"WAVE") or head[:4] == b"riff":
            parts = riff_parts(file, start)
            return _pcm(file, name, parts, salvage=salvage) if parts else _plain(file, name, salvage=salvage)
        if head[:4] == b"FORM" and head[8:11] == b"AIF":
            parts = aiff_parts(file, start)
            return _pcm(file, name, parts, salvage=salvage) if parts else _plain(file, name, salvage=salvage)
        if head[:4] in _PCM_CONTAINERS:
            part = _PCM_CONTAINERS[head[:4]](file)
            return _pcm(file, name, [part], salvage=salvage) if part else None
        if head[:4] == b"fLaC":
            return native_flac.open_flac(file, name, start, size, salvage=salvage)
        if head[:4] == b"OggS":
            return _ogg(file, name, start, salvage=salvage)
    except soundfile.LibsndfileError:
        return None
    if head.startswith(_OTHERS) or head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"styp"):
        return None
    if read_at(file, 0, 1) == b"G" and read_at(file, 188, 1) == b"G" and read_at(file, 376, 1) == b"G":
        return None  # a transport stream
    return _mpeg(file, name, salvage=salvage)


def _plain(file: BinaryIO, name: str, *, salvage: bool) -> Source | None:
    """A compressed encoding in a container of libsndfile's."""
    if failure := missing_bytes(file, file_size(file)):
        if salvage:
            return None
        raise AudioError(f"{name}: truncated, {failure}; copy it again, or keep the rest with --salvage")
    if is_bitstream(read_at(file, 0, 1 << 14)):
        return None
    whole = window(file, 0, file_size(file))  # which takes any position that a damaged header gives
    source = SoundFileSource(whole, name, "aifc" if read_at(file, 0, 4) == b"FORM" else "wav", salvage=salvage)
    if source.info.codec == "mp3":  # libmpg123 prints to standard error, and believes its guess of the length
        source.close()
        return None
    return source


def _pcm(file: BinaryIO, name: str, parts: list[Part], *, salvage: bool) -> Source:
    def open_part(part: Part) -> Source:
        witnesses = () if part.declared is None else (Witness("its header", part.declared),)
        return SoundFileSource(
            window(file, part.start, part.end, part.head),
            name,
            part.container,
            layout=part.layout,
            witnesses=witnesses,
            salvage=salvage,
            note=part.note,
        )

    if len(parts) == 1:
        return open_part(parts[0])
    pieces = [Piece(lambda part=part: open_part(part)) for part in parts]
    several = "data chunks" if read_at(file, parts[0].next, 4) == b"data" else "files joined"
    return ChainSource(name, pieces, note=f"{len(parts)} {several}: all are read", salvage=salvage)


def _ogg(file: BinaryIO, name: str, start: int, *, salvage: bool) -> Source | None:
    links = read_links(file, start)
    if not links or any(len(link.codecs) != 1 or link.codecs[0] in ("", "speex") for link in links):
        return None
    return ogg_source(file, name, links, salvage=salvage)


def _mpeg(file: BinaryIO, name: str, *, salvage: bool) -> Source | None:
    streams = read_streams(file)
    if not streams:
        free = free_format(file)
        return _free_format(file, name, free, salvage=salvage) if free else None
    if len(streams) == 1:
        return MpegSource(file, name, streams[0], salvage=salvage)
    pieces = [Piece(lambda one=one: MpegSource(file, name, one, salvage=salvage)) for one in streams]
    seconds = sum(len(one.offsets) * one.header.samples / one.header.rate for one in streams)
    note = f"{len(streams)} files joined: all are read"
    return ChainSource(name, pieces, note=note, seconds=seconds, salvage=salvage)


def _free_format(file: BinaryIO, name: str, stream: Stream, *, salvage: bool) -> Source | None:
    """FFmpeg does not decode it, libsndfile does. It gets whole frames only: libmpg123 prints to standard error."""
    samples, count = stream.header.samples, len(stream.offsets) - bool(stream.xing_frames)
    lacking = stream.xing_frames - count
    failure = f"at least {stream.cut} bytes are missing at its end" if stream.cut and lacking > 0 else ""
    start, end = stream.offsets[bool(stream.xing_frames and lacking)], stream.offsets[-1] + stream.sizes[-1]
    bit_rate = round(8 * sum(stream.sizes) * stream.header.rate / (len(stream.sizes) * samples))
    try:
        source = SoundFileSource(
            window(file, start, end), name, "mp3", bit_rate=bit_rate, salvage=salvage, failure=failure
        )
    except soundfile.LibsndfileError:
        return None
    source.add_witness(Witness("the number of its frames", count * samples, 4 * samples))
    if lacking > 0:
        source.add_witness(Witness("its Xing header", stream.xing_frames * samples - stream.skip - stream.padding))
    if rest := sum(size for _, size in stream.junk):
        source.notes.append(f"{rest} bytes behind the sound that are not mp3 are left out")
    return source
