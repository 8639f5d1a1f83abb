"""Write shards with webdataset. Items are cut into pieces of seconds, so that a crop never decodes a whole song."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from exdiff.audio import AudioReader
from exdiff.core.errors import DataError
from exdiff.data.blocks import exact_blocks, merge_short_tail
from exdiff.data.layouts import Item, Source
from exdiff.data.shards.form import AUDIO_BYTES, FORMAT, INDEX, ROLES, VERSION

_DEEP = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE"})  # libsndfile's names; kept with 24 bits


@dataclass(frozen=True)
class Signals:
    """One sample before it is written: signals [C, T] of one length, by role."""

    name: str
    signals: dict[str, np.ndarray]
    sample_rate: int  # Hz
    deep: bool = False  # keep 24 bits
    start: int = 0  # first sample within the item


def read_signals(items: Iterable[Item], piece_seconds: float = 20.0) -> Iterator[Signals]:
    """The items in pieces, read block by block: pairs with their mixture, songs with all their stems.

    Raises:
        AudioError: a file cannot be read.
        DataError: the signals of an item differ in rate, channels or length.
    """
    for item in items:
        yield from _pieces(item, item.rest or ((item.mixture,) if item.mixture else ()), piece_seconds)


def write_shards(samples: Iterable[Signals], out: Path, *, kind: str, size_mb: float = 500.0) -> dict[str, Any]:
    """Write the folder `out`, with shards of about `size_mb` megabytes and an index. It appears only when complete.

    Args:
        samples: what to write, taken one at a time.
        out: must not exist.
        kind: "pairs" or "songs", see `form`.
        size_mb: size of a shard. Many small ones can be dealt out to many processes.

    Returns:
        The index: kind, samples, seconds, sample_rates, channels, shards.

    Raises:
        DataError: `out` exists, nothing to write, webdataset is missing, or the disk refuses.
        AudioError: a file cannot be read.
    """
    if kind not in ROLES:
        raise ValueError(f"unknown kind {kind!r}; allowed: {', '.join(ROLES)}")
    if out.exists():
        raise DataError(f"{str(out)!r} exists; name a new folder, nothing is overwritten")
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.mkdir(parents=True)
        index = _write(samples, temporary, kind, size_mb)
        (temporary / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
        temporary.rename(out)
    except OSError as error:
        raise DataError(f"cannot write {str(out)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return index


def _write(samples: Iterable[Signals], folder: Path, kind: str, size_mb: float) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    rates: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    seconds = 0.0
    with _writer(folder, size_mb) as writer:
        for number, sample in enumerate(samples):
            writer.write(_encoded(sample, f"{number:09d}"))
            counts[writer.fname] += 1
            rates[str(sample.sample_rate)] += 1
            channels[str(max(len(signal) for signal in sample.signals.values()))] += 1
            seconds += next(iter(sample.signals.values())).shape[-1] / sample.sample_rate
    if not counts:
        raise DataError("there is nothing to write into shards")
    shards = [{"name": n, "samples": c, "bytes": (folder / n).stat().st_size} for n, c in sorted(counts.items())]
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "samples": sum(counts.values()),
        "seconds": round(seconds, 3),
        "sample_rates": dict(rates),
        "channels": dict(channels),
        "shards": shards,
    }


def _writer(folder: Path, size_mb: float) -> Any:
    try:
        from webdataset.writer import ShardWriter
    except ImportError:
        raise DataError("writing shards needs webdataset; pip install 'exdiff[shards]'") from None
    opened: list[BinaryIO] = []

    def opener(name: str) -> BinaryIO:  # the library's own opener gives % and : in a path a special meaning
        opened.append((folder / name).open("wb"))
        return opened[-1]

    # No times or users, so that the same data give the same bytes.
    return ShardWriter(
        "shard-%06d.tar",
        maxcount=1_000_000,
        maxsize=size_mb * 1e6,
        post=lambda name: opened[-1].close(),
        verbose=0,
        opener=opener,
        mtime=0,
        user="",
        group="",
    )


def _encoded(sample: Signals, key: str) -> dict[str, Any]:
    members: dict[str, Any] = {"__key__": key}
    for role, signal in sample.signals.items():
        suffix, data = _encode(signal, sample.sample_rate, sample.deep)
        if len(data) > AUDIO_BYTES:
            raise DataError(
                f"{sample.name!r}: a piece of {len(data)} bytes is too large; make shorter pieces with --seconds"
            )
        members[f"{role}.{suffix}"] = data
    about = {"name": sample.name, "start": sample.start, "sample_rate": sample.sample_rate}
    members["json"] = json.dumps({**about, "frames": next(iter(sample.signals.values())).shape[-1]}).encode()
    return members


def _encode(signal: np.ndarray, sample_rate: int, deep: bool) -> tuple[str, bytes]:
    """FLAC, or float WAV if FLAC would clip or cannot hold the rate or channels."""
    suffix, subtype = "flac", "PCM_24" if deep else "PCM_16"
    if np.abs(signal).max() > 1 or sample_rate > 655350 or len(signal) > 8:
        suffix, subtype = "wav", "FLOAT"
    buffer = io.BytesIO()
    soundfile.write(buffer, signal.T, sample_rate, format=suffix.upper(), subtype=subtype)
    return suffix, buffer.getvalue()


def _pieces(item: Item, others: Sequence[Source], seconds: float) -> Iterator[Signals]:
    sources = (item.target, *others)
    with ExitStack() as stack:
        readers = [stack.enter_context(AudioReader(s.path, s.stream)) for s in sources]
        rates = [reader.info.sample_rate for reader in readers]
        if len(set(rates)) > 1:
            raise DataError(f"{item.name!r}: {_each(sources, rates)} Hz; they must agree")
        size = max(1, round(seconds * rates[0]))
        start, ended = 0, object()
        streams = [merge_short_tail(exact_blocks(r.blocks(), size), size // 2) for r in readers]
        deep = any(reader.info.subtype in _DEEP for reader in readers)
        while True:
            parts = [next(stream, ended) for stream in streams]
            if all(part is ended for part in parts):
                return
            sizes = [part.shape[-1] if isinstance(part, np.ndarray) else 0 for part in parts]
            if len(set(sizes)) > 1:
                ends = [start + n for n in sizes]
                raise DataError(f"{item.name!r}: {_each(sources, ends)} samples; they must agree")
            signals = {s.role: p for s, p in zip(sources, parts, strict=True) if isinstance(p, np.ndarray)}
            yield Signals(item.name, signals, rates[0], deep, start)
            start += sizes[0]


def _each(sources: Sequence[Source], values: Sequence[int]) -> str:
    return ", ".join(f"{source.role} has {value}" for source, value in zip(sources, values, strict=True))
