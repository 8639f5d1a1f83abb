"""The format of a set of shards, and the checks that keep an untrusted one from doing harm.

A set is a folder, or its copy in an object store, with `index.json`, `shard-000000.tar` and so on. A sample consists of
the members of one key: `KEY.ROLE.flac` (or `.wav` if it exceeds full scale) for each signal, and `KEY.json`. Nothing is
unpacked to disk; the names, types and sizes of members are checked before their content is read.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from exdiff.core.errors import DataError

FORMAT, VERSION = "exdiff-shards", 1
INDEX = "index.json"
ROLES = {
    "pairs": frozenset({"clean", "mixture"}),
    "songs": frozenset({"vocals", "accompaniment", "drums", "bass", "other"}),
}
INDEX_BYTES = 1 << 26
AUDIO_BYTES = 1 << 28
_JSON_BYTES = 1 << 20
_MOST = 10_000_000  # shards, and samples in one
_MEMBER = re.compile(r"([A-Za-z0-9_-]{1,100})\.(?:([a-z]{1,20})\.(flac|wav)|json)")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}\.tar")


@dataclass(frozen=True)
class Index:
    """The part of `index.json` that reading needs."""

    kind: str  # pairs or songs
    names: tuple[str, ...]  # of the shards
    counts: tuple[int, ...]  # samples of each


@dataclass(frozen=True)
class Member:
    """Audio in a tar file: the position of its bytes, and the bytes themselves if they were read."""

    offset: int
    size: int
    data: bytes = b""


Sample = dict[str, Member]  # role -> audio


def parse_index(text: bytes, place: str) -> Index:
    """Check an `index.json`.

    Raises:
        DataError: too large, not JSON, another format, or impossible names and numbers.
    """
    try:
        if len(text) > INDEX_BYTES:
            raise ValueError("it is too large")
        table: Any = json.loads(text)
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ValueError(f"it is not an index of {FORMAT}")
        if table.get("version") != VERSION:
            raise ValueError(f"its version is {table.get('version')!r}, this program reads {VERSION}")
        if table.get("kind") not in ROLES:
            raise ValueError(f"its kind is {table.get('kind')!r}, known are {', '.join(ROLES)}")
        names = tuple(_name(shard["name"]) for shard in table["shards"])
        counts = tuple(_count(shard["samples"]) for shard in table["shards"])
        if not _count(len(names)) or len(set(names)) < len(names):
            raise ValueError("it names a shard twice")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{place} cannot be used: {reason}; make shards with `exdiff data shard`") from None
    return Index(table["kind"], names, counts)


def samples(file: BinaryIO, kind: str, place: str, promised: int, *, load: bool) -> Iterator[Sample]:
    """The samples of a tar file, in order; with `load` their bytes too, and the file may then be a stream.

    Only plain headers are accepted (USTAR, which webdataset writes): extended ones can make a reader allocate any
    amount of memory for a name.

    Raises:
        DataError: a damaged archive, a member with a name, type or size that is not allowed, or another number of
            samples than promised.
    """
    current: Sample = {}
    last, count = "", 0
    for key, role, member in _members(file, kind, place, load):
        if key != last:
            count += 1
            if count > promised:
                break
            if last:
                yield _whole(current, last, kind, place)
            current, last = {}, key
        if role in current:
            raise DataError(f"{place}: {key!r} has two members {role!r}")
        if role:
            current[role] = member
    if count != promised:
        raise DataError(f"{place}: holds {'more' if count > promised else count} samples, {INDEX} says {promised}")
    if last:
        yield _whole(current, last, kind, place)


def _members(file: BinaryIO, kind: str, place: str, load: bool) -> Iterator[tuple[str, str, Member]]:
    """(key, role, audio) of each member; the role of `KEY.json` is empty."""
    position = 0
    while True:
        header = file.read(tarfile.BLOCKSIZE)
        if header == bytes(tarfile.BLOCKSIZE):  # the end mark
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            reason = str(error) if header else "it ends early"
            raise DataError(f"{place}: not a whole tar file ({reason}); copy it again") from None
        key, role = _checked(info, kind, place)
        position += tarfile.BLOCKSIZE
        room = -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        data = b""
        if load:
            data = file.read(room)
            if len(data) < room:
                raise DataError(f"{place}: not a whole tar file (it ends early); copy it again")
        else:
            file.seek(position + room)
        yield key, role, Member(position, info.size, data[: info.size])
        position += room


def _whole(sample: Sample, key: str, kind: str, place: str) -> Sample:
    needed = sample.keys() == ROLES["pairs"] if kind == "pairs" else "vocals" in sample and len(sample) > 1
    if not needed:
        raise DataError(f"{place}: sample {key!r} holds {', '.join(sorted(sample)) or 'nothing'}, not what {kind} need")
    return sample


def _checked(info: tarfile.TarInfo, kind: str, place: str) -> tuple[str, str]:
    name = info.name if len(info.name) <= 80 else info.name[:77] + "..."
    match = _MEMBER.fullmatch(info.name)
    if match is None or (match[2] and match[2] not in ROLES[kind]):
        allowed = f"KEY.json and KEY.ROLE.flac or .wav, where ROLE is {', '.join(sorted(ROLES[kind]))}"
        raise DataError(f"{place}: refused, it has a member {name!r}; allowed are {allowed}")
    if not info.isreg():
        raise DataError(f"{place}: refused, its member {name!r} is a link or not a plain file")
    limit = AUDIO_BYTES if match[2] else _JSON_BYTES
    if not 0 <= info.size <= limit:
        raise DataError(f"{place}: refused, its member {name!r} has {info.size} bytes, more than {limit}")
    return match[1], match[2] or ""


def _name(name: str) -> str:
    if not isinstance(name, str) or not _SHARD.fullmatch(name):
        raise ValueError(f"a shard is called {str(name)[:80]!r}; a plain NAME.tar is needed")
    return name


def _count(number: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= _MOST:
        raise ValueError(f"a shard count of {str(number)[:20]} is out of range")
    return number
