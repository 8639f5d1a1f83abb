"""What belongs to a file's sound besides its samples: tags, covers, chapters, language, RIFF chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from exdiff.audio.av_open import open_to_read
from exdiff.audio.tags.chunks import read_chunks

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

# What encoders and muxers write about their own file; wrong in another one.
_TECHNICAL = """
    encoder encoded_by_tool major_brand minor_version compatible_brands duration handler_name vendor_id itunsmpb
    itunnorm encoding_tool tsse tlen number_of_frames number_of_bytes bps language metadata_block_picture
    filename mimetype waveformatextensible_channel_mask _statistics_writing_app _statistics_writing_date_utc
    _statistics_tags coding_history time_reference umid timecode
"""
# One name for the tags that containers name differently.
_ALIASES = {"album artist": "album_artist", "albumartist": "album_artist", "tracknumber": "track", "discnumber": "disc"}
_MIME = {"mjpeg": "image/jpeg", "png": "image/png", "bmp": "image/bmp", "gif": "image/gif", "webp": "image/webp"}
_RIFF = frozenset(b"bext,cue ,iXML,smpl,axml,_PMX,inst,LIST,id3 ,ID3 ,cart,plst,note,labl".split(b","))


@dataclass
class Metadata:
    """What belongs to the sound of a file.

    Attributes:
        tags: texts by FFmpeg's generic names ("title", "artist", "album_artist", "track", ...).
        covers: (MIME type, image) of each attached picture.
        chapters: (start, end, title), in seconds.
        language: three letters of ISO 639-2; "" if unknown.
        disposition: FFmpeg's names of the stream's flags ("default", "comment", ...).
        riff_chunks: (name, content) of the chunks of a WAV file that are not about its samples.
        others: the streams besides the sound and its covers, in words ("the picture", "2 subtitle tracks").
    """

    tags: dict[str, str] = field(default_factory=dict)
    covers: list[tuple[str, bytes]] = field(default_factory=list)
    chapters: list[tuple[float, float, str]] = field(default_factory=list)
    language: str = ""
    disposition: tuple[str, ...] = ()
    riff_chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_metadata(source: str | Path | BinaryIO, stream: int | None = None) -> Metadata:
    """What belongs to audio stream `stream` of a file (from 0; None for the default one).

    The source may be an open file that can be rewound.

    A file that FFmpeg cannot open has none; whether it is damaged is for its reader to say.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from exdiff.audio import encode
        >>> path = Path(tempfile.mkdtemp()) / "x.flac"
        >>> encode(path, np.zeros((1, 100), np.float32), 8000)
        >>> read_metadata(path).tags
        {}
    """
    import av.error

    found, place = Metadata(), Path(source) if isinstance(source, str) else source
    try:
        with open_to_read(place, metadata_errors="replace") as container:
            _read(container, stream, found)
    except (av.error.FFmpegError, OSError, ValueError):
        pass
    found.riff_chunks = [(name, data) for name, data in read_chunks(place) if name in _RIFF]
    if any(name == b"bext" for name, _ in found.riff_chunks):
        found.tags.pop("creation_time", None)  # a time of day, which is in the chunk
    return found


def lost(wanted: Metadata, path: Path, where: str, picture_kept: bool = False) -> list[str]:
    """A line for each thing in `wanted` that the file at `path` does not hold; `where` is its container's name."""
    got = read_metadata(path)
    tags = {key.lower(): text for key, text in got.tags.items()}
    notes = []
    if any(name == b"bext" for name, _ in wanted.riff_chunks):
        # The line about the chunk below says it for the tags that FFmpeg makes of it.
        tags = {key: text for key, text in wanted.tags.items() if key in _FROM_BEXT} | tags
    if missing := sorted(key for key, text in wanted.tags.items() if not _same(tags.get(key.lower()), text)):
        notes.append(f"{where} cannot hold the tags {', '.join(missing)}; they are left out")
    if (count := len(wanted.covers) - len(got.covers)) > 0:
        notes.append(
            f"{where} cannot hold {'1 cover, which is' if count == 1 else f'{count} covers, which are'} left out"
        )
    if len(got.chapters) < len(wanted.chapters):
        notes.append(f"{where} cannot hold the {len(wanted.chapters)} chapters; they are left out")
    if wanted.language and bibliographic(got.language) != bibliographic(wanted.language):
        notes.append(f"{where} cannot hold the language ({wanted.language}); it is left out")
    kept = {name for name, _ in got.riff_chunks} | _AS_TAGS
    if wanted.chapters and len(got.chapters) >= len(wanted.chapters):
        kept.add(b"cue ")  # FFmpeg reads its marks as chapters
    if chunks := sorted({name.decode("latin-1").strip() for name, _ in wanted.riff_chunks if name not in kept}):
        notes.append(f"{where} cannot hold the chunks {', '.join(chunks)}; they are left out")
    if others := [name for name in wanted.others if not picture_kept or "audio" in name]:
        verb = "is" if len(others) == 1 and others[0][-1] != "s" else "are"
        hint = "; --keep-video keeps it" if others == ["the picture"] else ""
        notes.append(f"{' and '.join(others)} {verb} left out{hint}")
    return notes


_FROM_BEXT = {"encoded_by", "originator", "originator_reference", "origination_date", "origination_time"}
_AS_TAGS = {b"LIST", b"id3 ", b"ID3 "}  # their contents are tags in every container


def _same(got: str | None, text: str) -> bool:
    """Whether a tag came through; numbers may be written in another way ("3" and "03", "2020" and "2020-01-01")."""
    if got is None:
        return False
    if got.strip() == text.strip():
        return True
    return re.fullmatch(r"[\d/:.TZ -]+", text) is not None and got.strip("0 ").startswith(text.strip("0 "))


# ISO 639-2 has two codes for some languages; QuickTime has only one of them.
_LANGUAGES = """
    deu/ger fra/fre nld/dut zho/chi ces/cze ell/gre fas/per isl/ice ron/rum slk/slo sqi/alb hye/arm eus/baq kat/geo
    mkd/mac msa/may mri/mao mya/bur bod/tib cym/wel
"""


def bibliographic(language: str) -> str:
    """The older of the two codes that ISO 639-2 has for some languages.

    Example:
        >>> bibliographic("deu"), bibliographic("eng")
        ('ger', 'eng')
    """
    pairs = {pair[:3]: pair[4:] for pair in _LANGUAGES.split()}
    return pairs.get(language, language)


def _read(container: InputContainer, index: int | None, found: Metadata) -> None:
    sounds = container.streams.audio
    if not sounds:
        return
    chosen = sounds[index] if index is not None and index < len(sounds) else _default(sounds)
    for key, text in (*container.metadata.items(), *chosen.metadata.items()):
        if key.lower() == "language":
            found.language = "" if text == "und" else text
        elif key.lower() not in _TECHNICAL.split() and text.strip():
            found.tags[_ALIASES.get(key.lower(), key)] = text
    found.disposition = tuple(flag.name or "" for flag in chosen.disposition)
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1)
        title = dict(chapter["metadata"]).get("title", "")
        found.chapters.append((float(chapter["start"] * base), float(chapter["end"] * base), title))
    films = 0
    for stream in container.streams.video:
        if "attached_pic" in [flag.name for flag in stream.disposition]:
            found.covers += _cover(container, stream)
        else:
            films += 1
    found.others = list(_others(films, len(container.streams.subtitles), len(sounds) - 1))


def _default(sounds: tuple) -> Stream:
    return next((stream for stream in sounds if stream.disposition & 1), sounds[0])


def _cover(container: InputContainer, stream: Stream) -> Iterator[tuple[str, bytes]]:
    mime = _MIME.get(stream.codec_context.name, "") if stream.codec_context is not None else ""
    for packet in container.demux(stream):
        if packet.size:
            yield mime or "application/octet-stream", bytes(packet)
        return


def _others(films: int, subtitles: int, sounds: int) -> Iterator[str]:
    if films:
        yield "the picture"
    if subtitles:
        yield f"{subtitles} subtitle track{'s' if subtitles > 1 else ''}"
    if sounds > 0:
        yield f"{sounds} other audio track{'s' if sounds > 1 else ''}"
