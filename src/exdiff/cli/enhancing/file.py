"""Decodes, enhances and encodes one file, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from exdiff.audio import AudioInfo, AudioReader, AudioWriter, clipping_message
from exdiff.audio.tags.metadata import Metadata, read_metadata
from exdiff.audio.targets import Target, choose_target
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.claims import claimed
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.pipes import PipeWriter, default_sample, open_input
from exdiff.cli.enhancing.plan import EnhanceTask, is_pipe
from exdiff.cli.enhancing.stems import write_parts
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.options import CallOptions

_BARE = ("raw", "wav")  # which hold more than sound only when a recorder or a studio wrote them


def enhance_file(
    task: EnhanceTask,
    enhancer: Enhancer,
    options: Options,
    advance: Callable[[float], None] = lambda seconds: None,
    ready: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Enhance one file.

    Args:
        task: what to do.
        enhancer: that does it.
        options: of the run.
        advance: is called with the seconds of audio done since the last call.
        ready: is called once the outputs are claimed; what it raises ends the file.

    Returns:
        The record for --json; `warnings` holds one line each, `missing` is [start, length] in seconds of what could not
        be decoded.

    Raises:
        AudioError: the source cannot be read, or an output cannot be written; then no output is left.
    """
    start = time.perf_counter()
    with ExitStack() as stack:
        with ENDING.interruptible():
            place = stack.enter_context(open_input(task.source)) if is_pipe(task.source) else task.source
            metadata = None if task.to_pipe or options.strip_metadata else _metadata(place, options)
            reader = stack.enter_context(AudioReader(place, options.stream, salvage=options.salvage, raw=options.raw))
        info = reader.info
        if not task.to_pipe:
            stack.enter_context(claimed(task.outputs))
        ready()
        call: CallOptions = {"seed": options.seed, "strength": options.strength}
        notes: list[str] = []
        with _writers(task, reader, metadata, options, notes) as writers, ENDING.interruptible():
            frames = nfe = 0
            for count, evaluations in write_parts(reader, writers, task.whats, enhancer, call, _bits(writers[0])):
                frames, nfe = frames + count, max(nfe, evaluations)
                advance(count / info.sample_rate)
            for writer in writers:
                writer.finish()
        warnings = [*reader.notes, *notes, *_warnings(writers)]
        missing = list(reader.missing)
    if missing:
        warnings.append(_missing_line(missing))
    seconds, duration = time.perf_counter() - start, frames / info.sample_rate
    return {
        "input": str(task.source),
        "output": [str(path) for path in task.outputs],
        "seconds": round(seconds, 4),
        "rtf": round(seconds / duration, 5),
        "nfe": nfe,
        "duration": duration,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "warnings": list(dict.fromkeys(warnings)),
        "missing": missing,
    }


@contextmanager
def _writers(
    task: EnhanceTask, reader: AudioReader, metadata: Metadata | None, options: Options, notes: list[str]
) -> Iterator[list[AudioWriter] | list[PipeWriter]]:
    """Writers for all outputs of a task; none gets its name before the `with` block, which finishes them, has ended."""
    info = reader.info
    with ExitStack() as stack:
        if task.to_pipe:
            writers = [stack.enter_context(_pipe_writer(task, info, options))]
        else:
            target, target_notes = choose_target(
                info, task.outputs[0].suffix, format=task.format, bit_depth=options.bit_depth, bitrate=options.bitrate
            )
            notes += target_notes
            if task.note and not any("is written instead" in note for note in target_notes):
                notes.insert(0, task.note)
            if metadata is None and not options.strip_metadata and info.container not in _BARE:
                notes.append(f"tags, cover and chapters of {info.container} are not read from a pipe, and left out")
            writers = [
                stack.enter_context(_file_writer(path, task, info, target, metadata, options)) for path in task.outputs
            ]
        yield writers  # type: ignore[misc]


def _file_writer(
    path: Path, task: EnhanceTask, info: AudioInfo, target: Target, metadata: Metadata | None, options: Options
) -> AudioWriter:
    return AudioWriter(
        path,
        info.sample_rate,
        info.channels,
        target=target,
        frames=info.frames,
        metadata=metadata,
        picture_from=task.source if options.keep_video else None,
        picture_stream=options.stream,
    )


def _pipe_writer(task: EnhanceTask, info: AudioInfo, options: Options) -> PipeWriter:
    own = info.container if info.container in ("raw", "flac") else "wav"
    format = own if task.format == "same" else task.format
    if options.raw is not None and task.format == "same":
        format = "raw"
    return PipeWriter(task.outputs[0], info, format, default_sample(info, format, options.bit_depth))


def _bits(writer: AudioWriter | PipeWriter) -> int:
    return writer.bits if isinstance(writer, PipeWriter) else writer.target.bits


def _metadata(place: Path | BinaryIO, options: Options) -> Metadata | None:
    """None for raw PCM, and for what cannot be rewound."""
    if options.raw is not None or not (isinstance(place, Path) or place.seekable()):
        return None
    found = read_metadata(place, options.stream)
    if not isinstance(place, Path):
        place.seek(0)
    return found


def _warnings(writers: list[AudioWriter] | list[PipeWriter]) -> Iterator[str]:
    for writer in writers:
        yield from writer.notes
        if writer.clipped:
            yield clipping_message(writer)  # type: ignore[arg-type]


def _missing_line(missing: list[tuple[float, float]]) -> str:
    """One line about what a salvage lost.

    Example:
        >>> _missing_line([(2.0, 0.5), (7.25, 1.0)])
        '1.50 s are missing: 0.50 s at 2.00 s, 1.00 s at 7.25 s'
    """
    shown = [f"{length:.2f} s at {start:.2f} s" for start, length in missing[:10]]
    more = f", and at {len(missing) - 10} more places" if len(missing) > 10 else ""
    return f"{sum(length for _, length in missing):.2f} s are missing: {', '.join(shown)}{more}"
