"""The frames of MP3, MP2 and ADTS files: a header's guess of the length is never needed.

Every frame says its own size, so the file is walked from frame to frame; tags between them are skipped, and what is
neither is counted. Xing and LAME headers give the encoder's delay and padding.
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

from exdiff.audio.reading.mpeg_header import Header, parse_header
from exdiff.audio.reading.source import file_size, read_at
from exdiff.audio.reading.tail import sound_end

_DECODER_DELAY = 529  # samples, of every layer 3 decoder
_SYNC = re.compile(rb"\xff[\xe2-\xff][^\xf0-\xff]|ID3|TAG|APETAGEX|LYRICSBEGIN", re.DOTALL)
_LEADING_JUNK = 1 << 16  # bytes that may come before the first frame
_BLOCK = 1 << 20


@dataclass
class Stream:
    """Frames of one kind, up to the next Xing header or change.

    Attributes:
        header: of the first frame.
        offsets, sizes: of every frame in the file.
        junk: (index of the frame, bytes) of what is neither frames nor tags.
        skip, padding: samples to leave out at the beginning and at the end.
        xing_frames, xing_bytes: what the Xing header says, 0 for nothing.
        xing_at: where that is in the file.
        cut, partial: bytes of the last frame that the file does not have, and those that it has.
    """

    header: Header
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("l"))
    junk: list[tuple[int, int]] = field(default_factory=list)
    skip: int = 0
    padding: int = 0
    xing_frames: int = 0
    xing_bytes: int = 0
    xing_at: int = 0
    cut: int = 0
    partial: int = 0


class _Buffer:
    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self._start, self._data = file, file_size(file), 0, b""

    def get(self, at: int, count: int) -> bytes:
        offset = at - self._start
        if offset < 0 or offset + count > len(self._data):
            self._start, offset = at, 0
            self._data = read_at(self.file, at, max(_BLOCK, count))
        return self._data[offset : offset + count]


def skip_tags(file: BinaryIO, at: int = 0) -> int:
    """Where the data behind any ID3v2 tags begins."""
    while (head := read_at(file, at, 10))[:3] == b"ID3" and len(head) == 10:
        at += _id3_size(head)
    return at


def _id3_size(head: bytes) -> int:
    """Four bytes of seven bits each, without the ten of the tag's own header and of a footer."""
    size = sum((value & 127) << shift for value, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return size + 10 + (10 if head[5] & 0x10 else 0)


def _tag_size(buffer: _Buffer, at: int) -> int:
    """Bytes of the tag at `at`, 0 for none."""
    head = buffer.get(at, 32)
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        return _id3_size(head)
    if head[:3] == b"TAG" and buffer.size - at >= 128 and head[3:4] != b"+":
        return 128
    if head[:4] == b"TAG+":
        return 227
    if head[:8] == b"APETAGEX" and len(head) == 32:
        size, flags = struct.unpack("<I4xI", head[12:24])
        is_header = flags >> 29 & 1
        return 32 + (size if is_header else 0)
    if head[:11] == b"LYRICSBEGIN":
        end = buffer.get(at, 1 << 16).find(b"LYRICS200")
        return end + 9 if end > 0 else 0
    return 0


def read_streams(file: BinaryIO) -> list[Stream]:
    """The streams of an MP3, MP2 or ADTS file in order; an empty list if it is none, or has the free format."""
    buffer = _Buffer(file)
    at, streams = skip_tags(file), []
    first = at
    current: Stream | None = None
    junk = 0
    while at < buffer.size:
        head = buffer.get(at, 7)
        header = parse_header(head)
        known = current is not None and header is not None and header.key == current.header.key and not junk
        begun = current is not None or at == first
        if header is None or not header.size or not (known or _confirmed(buffer, at, header, begun)):
            if size := _tag_size(buffer, at):
                at += size
                continue
            step = _next_sync(buffer, at + 1) - at
            junk += step
            at += step
            if current is None and at - first > _LEADING_JUNK:
                return []
            continue
        if at + header.size > buffer.size:
            if current is not None:
                current.cut, current.partial = at + header.size - buffer.size, buffer.size - at
            break
        info = _xing(buffer, at, header)
        if current is None or header.key != current.header.key or info is not None:
            previous, current = current, info or Stream(header)
            streams.append(current)
            if junk and previous is not None:
                previous.junk.append((len(previous.offsets), junk))
        elif junk:
            current.junk.append((len(current.offsets), junk))
        junk = 0
        if info is None:
            current.offsets.append(at)
            current.sizes.append(header.size)
        at += header.size
    if current is not None and junk and current.cut == 0:
        current.junk.append((len(current.offsets), junk))
    return [stream for stream in streams if len(stream.offsets)]


def free_format(file: BinaryIO) -> Stream | None:
    """The frames of an MP3 file in the free format, whose headers do not say their size; None for another file."""
    buffer = _Buffer(file)
    at = skip_tags(file)
    header = parse_header(buffer.get(at, 7))
    if header is None or header.size or header.codec != "mp3":
        return None
    size = _free_size(buffer.get(at, 1 << 16))
    stream = _xing(buffer, at, header) or Stream(header)
    while size and (head := buffer.get(at, 7)) and (found := parse_header(head)) and found.key == header.key:
        step = size + (head[2] >> 1 & 1)
        if at + step > buffer.size:
            stream.cut, stream.partial = at + step - buffer.size, buffer.size - at
            break
        stream.offsets.append(at)
        stream.sizes.append(step)
        at += step
    rest = sound_end(file, at, buffer.size)[0] - at - stream.partial
    if rest > 0:
        stream.junk.append((len(stream.offsets), rest))
    return stream if len(stream.offsets) > 1 else None


def _free_size(data: bytes) -> int:
    """Bytes of a frame without padding: the distance of the headers, which all but the padding bit have in common."""
    mark, places = bytes((data[0], data[1], data[2] & 0xFC)), [0]
    start = 24
    while len(places) < 5 and (place := data.find(mark[:2], start)) > 0 and place + 3 <= len(data):
        if data[place + 2] & 0xFC == mark[2]:
            places.append(place)
        start = place + (24 if data[place + 2] & 0xFC == mark[2] else 1)
    steps = {after - before - (data[before + 2] >> 1 & 1) for before, after in pairwise(places)}
    return steps.pop() if len(steps) == 1 and len(places) > 2 else 0


def _confirmed(buffer: _Buffer, at: int, header: Header, begun: bool) -> bool:
    """Whether frames of the same kind follow; three in all, unless the file ends before.

    Any bytes may look like a frame for once, those of headerless codecs for example. So behind junk (`begun` is false),
    where nothing else says that the file is MPEG, the end of the file is no excuse.
    """
    place, wanted = at + header.size, 2
    while wanted and place + 7 <= buffer.size:
        following = parse_header(buffer.get(place, 7))
        if following is None or following.key != header.key or not following.size:
            return begun and _tag_size(buffer, place) > 0
        place += following.size
        wanted -= 1
    return begun or not wanted


def _next_sync(buffer: _Buffer, at: int) -> int:
    """Where a frame or tag may begin, from `at` on."""
    while at < buffer.size:
        block = buffer.get(at, 4096)
        if found := _SYNC.search(block):
            return at + found.start()
        at += max(1, len(block) - 7)
    return buffer.size


def _xing(buffer: _Buffer, at: int, header: Header) -> Stream | None:
    """What a Xing or Info header in place of a frame says."""
    if header.codec != "mp3":
        return None
    body = buffer.get(at + header.info_at, 160)
    if body[:4] not in (b"Xing", b"Info") or body[4:7] != b"\0\0\0" or len(body) < 8 or body[7] > 15:
        return None
    stream, place, flags = Stream(header, xing_at=at), 8, body[7]
    if flags & 1:
        stream.xing_frames, place = struct.unpack(">I", body[place : place + 4])[0], place + 4
    if flags & 2:
        stream.xing_bytes, place = struct.unpack(">I", body[place : place + 4])[0], place + 4
    place += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    lame = body[place : place + 24]
    if len(lame) == 24 and lame[:4] in (b"LAME", b"Lavf", b"Lavc", b"L3.9", b"GOGO"):
        delay, padding = lame[21] << 4 | lame[22] >> 4, (lame[22] & 15) << 8 | lame[23]
        stream.skip, stream.padding = delay + _DECODER_DELAY, max(0, padding - _DECODER_DELAY)
    return stream
