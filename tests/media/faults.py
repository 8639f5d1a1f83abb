"""What goes wrong with files, as surgery on their bytes; each fault says which outcomes are right."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pages import chained, no_eos, ogg_pages

WHOLE = frozenset({"whole", "warning"})  # all of the sound comes back; a line may say what was done
LOUD = frozenset({"error", "warning"})  # something is lost, and a line says so
ANY = frozenset({"whole", "warning", "error"})  # without a line it must be whole


@dataclass(frozen=True)
class Fault:
    """One kind of damage.

    Attributes:
        change: bytes in, bytes out.
        allowed: outcomes that are right.
        pad: samples by which the result may be longer.
        joins: how many times the sound is in the file.
        only: names of the formats it belongs to; all if empty.
        lax: what an MP3's header says of delay and padding is not to be trusted.
        rename: gives the file another suffix.
    """

    change: Callable[[bytes], bytes]
    allowed: frozenset[str] = WHOLE
    pad: int = 0
    joins: int = 1
    only: tuple[str, ...] = ()
    lax: bool = False
    rename: str = ""


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: round(len(data) * share)]


def _append(tail: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data + tail


def _u32(data: bytes, at: int, value: int, order: str = "<") -> bytes:
    return data[:at] + struct.pack(order + "I", value) + data[at + 4 :]


def riff_sizes(size: int, riff: int | None = None) -> Callable[[bytes], bytes]:
    """Put `size` into the header of the data chunk, and `riff` (or the same) into that of the file."""

    def change(data: bytes) -> bytes:
        return _u32(_u32(data, data.index(b"data") + 4, size), 4, size if riff is None else riff)

    return change


def aiff_size(size: int) -> Callable[[bytes], bytes]:
    return lambda data: _u32(_u32(data, data.index(b"SSND") + 4, size, ">"), 4, size, ">")


def au_size(size: int) -> Callable[[bytes], bytes]:
    return lambda data: _u32(data, 8, size, ">")


def insert_chunk(name: bytes, body: bytes, padded: bool = True) -> Callable[[bytes], bytes]:
    """A chunk before the data chunk of a WAV."""

    def change(data: bytes) -> bytes:
        at = data.index(b"data")
        chunk = name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2 if padded else 0)
        whole = data[:at] + chunk + data[at:]
        return _u32(whole, 4, len(whole) - 8)

    return change


def mask_zero(data: bytes) -> bytes:
    """The extensible header's mask of channels says nothing."""
    return _u32(data, data.index(b"fmt ") + 8 + 20, 0)


def to_bw64(data: bytes) -> bytes:
    return b"BW64" + data[4:]


def xing(frames: float, size: float) -> Callable[[bytes], bytes]:
    """Multiply the counts of frames and of bytes in the first frame of an MP3."""

    def change(data: bytes) -> bytes:
        at = max(data.find(b"Xing", 0, 4096), data.find(b"Info", 0, 4096))
        assert at > 0
        old = struct.unpack(">II", data[at + 8 : at + 16])
        data = _u32(data, at + 8, round(old[0] * frames), ">")
        return _u32(data, at + 12, round(old[1] * size), ">")

    return change


def id3v2(size: int) -> bytes:
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    body = b"TIT2" + struct.pack(">I", 3) + b"\0\0" + b"\0Hi"
    return b"ID3\x03\0\0" + length + body + bytes(size - len(body))


def ape_tag(front: bool = False) -> bytes:
    item = struct.pack("<II", 2, 0) + b"Title\0Hi"
    flags = 1 << 31 | (1 << 29 if front else 0)
    fields = struct.pack("<IIII", 2000, len(item) + 32, 1, flags) + bytes(8)
    foot = struct.pack("<IIII", 2000, len(item) + 32, 1, 1 << 31) + bytes(8)
    return b"APETAGEX" + fields + item + b"APETAGEX" + foot


ID3V1 = b"TAG" + b"Title".ljust(125, b"\0")
RANDOM = np.random.default_rng(3).integers(0, 256, 5000, np.uint8).tobytes()


def flac_total(total: int) -> Callable[[bytes], bytes]:
    """Another number of samples in STREAMINFO."""

    def change(data: bytes) -> bytes:
        at = data.index(b"fLaC") + 8 + 10
        old = int.from_bytes(data[at : at + 8], "big")
        return data[:at] + (old >> 36 << 36 | total).to_bytes(8, "big") + data[at + 8 :]

    return change


def flac_md5(data: bytes) -> bytes:
    at = data.index(b"fLaC") + 8 + 18
    return data[:at] + bytes(b ^ 0x55 for b in data[at : at + 16]) + data[at + 16 :]


def hole(at: float, size: int = 300) -> Callable[[bytes], bytes]:
    """Bytes missing in the middle."""
    return lambda data: data[: round(len(data) * at)] + data[round(len(data) * at) + size :]


def overwrite(at: float, size: int = 300) -> Callable[[bytes], bytes]:
    """Random bytes over the middle."""

    def change(data: bytes) -> bytes:
        place = round(len(data) * at)
        return data[:place] + RANDOM[:size] + data[place + size :]

    return change


_MPEG = ("mp3", "mp2", "aac")
_RAW = ("mp3 no xing", "mp3 cbr no xing", "mp3 lame no tag", "mp2", "aac", "ac3", "eac3", "dts")
_OGG = ("ogg", "opus", "oga", "spx")
_WAV = ("wav", "rf64 ffmpeg")
_INTEGER_WAV = ("wav", "wavex", "wav 24", "wav float", "wav sox 24", "wav u8", "wav ffmpeg")

FAULTS: dict[str, Fault] = {
    "plain": Fault(lambda data: data),
    "cut at 60 %": Fault(_cut(0.6), allowed=LOUD),
    "cut at 97 %": Fault(_cut(0.97), allowed=LOUD),
    "without its last 40 bytes": Fault(lambda data: data[:-40], allowed=ANY),
    "4000 zeros behind": Fault(_append(bytes(4000)), allowed=ANY),
    "text behind": Fault(_append(b"downloaded from example.org\n" * 20), allowed=ANY),
    "a hole": Fault(hole(0.5), allowed=ANY),
    "named .wav": Fault(lambda data: data, allowed=ANY, lax=True, rename="wav"),
    "named .mp3": Fault(lambda data: data, allowed=ANY, lax=True, rename="mp3"),
    # WAV
    "sizes 0": Fault(riff_sizes(0), only=_INTEGER_WAV),
    "sizes 0x7FFFFFFF": Fault(riff_sizes(0x7FFFFFFF), only=_INTEGER_WAV),
    "sizes 0xFFFFFFFF": Fault(riff_sizes(0xFFFFFFFF), only=_INTEGER_WAV),
    "sizes 0x7FFFF000": Fault(riff_sizes(0x7FFFF000), only=_INTEGER_WAV),
    "riff size 0": Fault(lambda data: _u32(data, 4, 0), only=_INTEGER_WAV),
    "data size 0": Fault(riff_sizes(0, 36), only=_INTEGER_WAV),
    "data size of half": Fault(riff_sizes(20000), allowed=ANY, only=_INTEGER_WAV),
    "odd chunk": Fault(insert_chunk(b"JUNK", b"abc"), only=_INTEGER_WAV),
    "odd chunk without padding": Fault(insert_chunk(b"odd ", b"abcde", padded=False), only=_INTEGER_WAV),
    "one byte more": Fault(_append(b"\0"), only=_INTEGER_WAV),
    "BW64": Fault(to_bw64, only=("rf64", "rf64 ffmpeg")),
    "AIFF size 0": Fault(aiff_size(0), only=("aiff", "aiff 24", "aifc", "aifc float")),
    "AIFF size 0xFFFFFFFF": Fault(aiff_size(0xFFFFFFFF), allowed=ANY, only=("aiff", "aiff 24", "aifc", "aifc float")),
    "AU size unknown": Fault(au_size(0xFFFFFFFF), only=("au", "au sox")),
    # MPEG
    "joined": Fault(
        lambda data: data + data, joins=2, lax=True, only=(*_RAW, "mp3", "mp3 vbr", "mp3 lame", "mp3 lame abr", "flac")
    ),
    "Xing counts half": Fault(xing(0.5, 1), lax=True, only=("mp3", "mp3 vbr", "mp3 lame")),
    "Xing counts double": Fault(xing(2, 1), lax=True, allowed=ANY, only=("mp3", "mp3 vbr", "mp3 lame")),
    "Xing bytes half": Fault(xing(1, 0.5), lax=True, only=("mp3", "mp3 vbr", "mp3 lame")),
    "Xing counts 0": Fault(xing(0, 0), lax=True, only=("mp3", "mp3 vbr", "mp3 lame")),
    "ID3v2 in front": Fault(lambda data: id3v2(3000) + data, only=(*_MPEG, "mp3 no xing", "mp3 lame", "flac")),
    "large ID3v2": Fault(lambda data: id3v2(300000) + data, only=(*_MPEG, "mp3 no xing", "mp3 vbr")),
    "ID3v1 behind": Fault(_append(ID3V1), only=(*_MPEG, "mp3 no xing", "mp3 vbr", "mp3 lame", "wv", "flac")),
    "APE tag behind": Fault(_append(ape_tag()), only=(*_MPEG, "mp3 no xing", "mp3 vbr", "wv")),
    "APE tag and ID3v1": Fault(_append(ape_tag() + ID3V1), only=(*_MPEG, "mp3 vbr")),
    "APE tag in front": Fault(lambda data: ape_tag(True) + data, lax=True, only=("mp3", "mp3 no xing")),
    "zeros in front": Fault(lambda data: bytes(3000) + data, allowed=ANY, lax=True, only=(*_MPEG, "mp3 no xing")),
    "garbage inside": Fault(
        overwrite(0.5), allowed=ANY, only=(*_RAW, "mp3", "mp3 vbr", "ogg", "opus", "m4a", "ts aac")
    ),
    # Ogg
    "chained": Fault(chained, joins=2, only=("ogg", "ogg sndfile", "ogg sox", "opus", "opus opusenc", "oga flac")),
    "chained thrice": Fault(lambda data: chained(data, 3), joins=3, only=("ogg", "opus")),
    "no end of stream": Fault(no_eos, pad=960, only=("ogg", "opus", "oga flac")),
    "last page lost": Fault(lambda d: b"".join(ogg_pages(d)[:-1]), allowed=ANY, only=("ogg", "opus", "oga flac")),
    "junk between pages": Fault(
        lambda d: b"".join(ogg_pages(d)[:2]) + RANDOM[:77] + b"".join(ogg_pages(d)[2:]),
        allowed=ANY,
        only=("ogg", "opus"),
    ),
    # FLAC
    "total unknown": Fault(flac_total(0), only=("flac", "flac flac", "flac ffmpeg")),
    "total of half": Fault(flac_total(12000), allowed=ANY, only=("flac", "flac flac")),
    "total double": Fault(flac_total(48000), allowed=LOUD, only=("flac", "flac flac")),
    "MD5 wrong": Fault(flac_md5, allowed=ANY, only=("flac", "flac flac")),
}
