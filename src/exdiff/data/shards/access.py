"""Fetch samples: by offset if all shards are local files, otherwise from streams read in order.

Streams (https:, gs:, hf:, `pipe:` commands) go through webdataset. Each process holds one block of encoded samples and
one open stream; a jump (in a resumed run) opens the shard again and skips to the right place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from exdiff.core.errors import DataError
from exdiff.data.clips import expand_path
from exdiff.data.shards.form import INDEX, INDEX_BYTES, Sample, parse_index, samples
from exdiff.data.shards.order import Block, Order

SCHEMES = ("http", "https", "gs", "hf", "pipe")
PIPE_SWITCH = "EXDIFF_ALLOW_PIPE"
_SIGPIPE = -13  # exit status of a command whose output nobody reads any more


@dataclass(frozen=True)
class Shard:
    """One tar file: its address, the kind of its samples, and their number."""

    address: str
    local: bool
    kind: str
    count: int


class Access(Protocol):
    """A source of samples."""

    def get(self, order: Order, block: Block, slot: int) -> dict[str, bytes]:
        """The sample at a slot of a block: role -> the bytes of an audio file."""
        ...


def find_shards(urls: Sequence[str]) -> list[Shard]:
    """The shards of several sets, each a folder, a URL or a `pipe:COMMAND {name}`, as their indices list them.

    Raises:
        DataError: no index, one that cannot be used, an unknown scheme, or sets of different kinds.
    """
    found = [shard for url in urls for shard in _set_of(url)]
    kinds = sorted({shard.kind for shard in found})
    if len(kinds) != 1:
        raise DataError(f"shards of one kind are needed, got {' and '.join(kinds) or 'none'}")
    return found


def open_shards(shards: Sequence[Shard]) -> Access:
    """Access by offset if all shards are local, else by streams."""
    return ByOffset(shards) if all(shard.local for shard in shards) else ByStream(shards)


class ByOffset:
    """Local files: the headers of each are read once, on first use, and samples are then read by offset."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self._tables: dict[int, list[Sample]] = {}

    def get(self, order: Order, block: Block, slot: int) -> dict[str, bytes]:
        number, place = order.sample(block, slot)
        shard = self.shards[number]
        with _opened(shard.address, local=True) as file:
            if number not in self._tables:
                self._tables[number] = list(samples(file, shard.kind, shard.address, shard.count, load=False))
            out = {}
            for role, member in self._tables[number][place].items():
                file.seek(member.offset)
                out[role] = file.read(member.size)
        return out


class ByStream:
    """Streams: one block is held in memory, and one stream stays open for the next block."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards
        self._block: Block | None = None
        self._held: list[dict[str, bytes]] = []
        self._next: tuple[int, int, int] | None = None  # lane, turn and place of the next sample of the stream
        self._stream: Iterator[dict[str, bytes]] = iter(())
        self._owner = os.getpid()

    def get(self, order: Order, block: Block, slot: int) -> dict[str, bytes]:
        if self._block != block:
            self._block, self._held = None, []  # one block in memory, not two
            forked = self._owner != os.getpid()  # two processes must not read from one pipe
            if forked or self._next != (block.lane, block.turn, block.first):
                self._owner = os.getpid()
                self._stream = self._open_at(order, block)
            self._held = [next(self._stream) for _ in range(block.size)]
            self._next = (block.lane, block.turn, block.first + block.size)
            self._block = block
        return self._held[slot]

    def _open_at(self, order: Order, block: Block) -> Iterator[dict[str, bytes]]:
        first, skip = order.sample(block, 0)
        sequence = order.sequence(block)
        for number in sequence[sequence.index(first) :]:
            shard = self.shards[number]
            with _opened(shard.address, local=shard.local) as stream:
                for place, sample in enumerate(samples(stream, shard.kind, shard.address, shard.count, load=True)):
                    if place >= skip:
                        yield {role: member.data for role, member in sample.items()}
            skip = 0

    def __getstate__(self) -> dict[str, Any]:
        """Another process begins with a new stream."""
        return {**self.__dict__, "_block": None, "_held": [], "_next": None, "_stream": iter(())}


def _set_of(url: str) -> list[Shard]:
    scheme = url.partition(":")[0] if ":" in url else ""
    local = len(scheme) < 2  # no scheme, or the drive of a path
    if not local and scheme not in SCHEMES:
        raise DataError(f"{url}: unknown scheme {scheme!r}; a folder or {', '.join(SCHEMES)} are known")
    if scheme == "pipe" and os.environ.get(PIPE_SWITCH) != "1":
        raise DataError(f"{url} runs a command on this machine; set {PIPE_SWITCH}=1 if you trust the recipe")
    if scheme == "pipe" and "{name}" not in url:
        raise DataError(f"{url}: write {{name}} where the name of a shard belongs")
    base = str(expand_path(url)) if local else url
    if local and not (Path(base) / INDEX).is_file():
        raise DataError(f"no shards in {base!r}: there is no {INDEX}; make them with `exdiff data shard`")
    pattern = base if "{name}" in base else base.rstrip("/") + "/{name}"
    place = pattern.replace("{name}", INDEX)
    with _opened(place, local=local) as stream:
        index = parse_index(stream.read(INDEX_BYTES + 1), place)
    addresses = [pattern.replace("{name}", name) for name in index.names]
    return [Shard(a, local, index.kind, n) for a, n in zip(addresses, index.counts, strict=True)]


class _Opened:
    """A file or stream whose errors become data errors, those on closing included."""

    def __init__(self, address: str, local: bool) -> None:
        self.address, self.local = address, local

    def __enter__(self) -> BinaryIO:
        try:
            self.file = Path(self.address).open("rb") if self.local else _stream(self.address)
        except (OSError, ValueError) as error:
            raise self._broken(error) from None
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            with closing(self.file):
                pass
        except OSError as fault:
            error = fault
        if isinstance(error, OSError):
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> DataError:
        code = re.search(r"exit (-?\d+)", str(error))  # the message of the library is the whole command
        text = f"the command that fetches it ended with code {code[1]}" if code else str(error)
        reason = getattr(error, "strerror", None) or text
        advice = "copy it again" if self.local else "check that it can be reached, and continue with --resume"
        return DataError(f"{self.address}: cannot be read ({reason}); {advice}")


def _opened(address: str, *, local: bool) -> _Opened:
    return _Opened(address, local)


def _stream(address: str) -> Any:
    try:
        from webdataset.gopen import gopen
    except ImportError:
        raise DataError(f"{address}: reading it needs webdataset; pip install 'exdiff[shards]'") from None
    stream: Any = gopen(address)
    if hasattr(stream, "ignore_status"):
        stream.ignore_status.append(_SIGPIPE)
    return stream
