"""Decodes, enhances and encodes one file, block by block."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from exdiff.audio import AudioReader, AudioWriter, clipping_message
from exdiff.cli.common import say
from exdiff.cli.enhance_plan import EnhanceTask
from exdiff.core.progress import on_terminal
from exdiff.core.stems import STEMS
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.options import CallOptions

_BAR_AFTER_SECONDS = 2.0


class DelayedProgressBar:
    """A progress bar that appears on a terminal after two seconds."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title, self._total, self._done = title, total, 0.0
        self._start, self._visible = time.monotonic(), on_terminal()
        self._bar: Any = None

    def advance(self, amount: float) -> None:
        """Count `amount` towards the total."""
        self._done += amount
        if self._bar is None and self._visible and time.monotonic() - self._start > _BAR_AFTER_SECONDS:
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task(escape(self._title), total=self._total)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


def enhance_file(task: EnhanceTask, enhancer: Enhancer, options: CallOptions, title: str) -> dict[str, Any]:
    """Enhance one file and return its record for --json.

    Raises:
        AudioError: the source cannot be read, or an output cannot be written; then no output is left.
    """
    start = time.perf_counter()
    with AudioReader(task.source) as reader:
        info = reader.info
        with _writers(task, reader) as writers, ExitStack() as stack:
            bar = DelayedProgressBar(title, info.frames)
            stack.callback(bar.close)
            frames = 0
            for parts in _parts(reader, enhancer, options, stems=len(task.outputs) > 1):
                for writer, part in zip(writers, parts, strict=True):
                    writer.write(part)
                frames += parts[0].shape[-1]
                bar.advance(parts[0].shape[-1])
    for writer in writers:
        if writer.clipped:
            say(f"warning: {clipping_message(writer)}")
        if writer.sample_rate != info.sample_rate:
            rates = f"cannot hold {info.sample_rate} Hz, so it has {writer.sample_rate} Hz"
            say(f"warning: {writer.path}: {task.format} {rates}")
    seconds, duration = time.perf_counter() - start, frames / info.sample_rate
    return {
        "input": str(task.source),
        "output": [str(path) for path in task.outputs],
        "seconds": round(seconds, 4),
        "rtf": round(seconds / duration, 5),
        "nfe": enhancer.last.nfe,
        "duration": duration,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
    }


@contextmanager
def _writers(task: EnhanceTask, reader: AudioReader) -> Iterator[list[AudioWriter]]:
    """Writers for all outputs of a task; none gets its name before all are complete."""
    info = reader.info
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                AudioWriter(
                    path,
                    info.sample_rate,
                    info.channels,
                    format=task.format,
                    source_subtype=info.subtype,
                    frames=info.frames,
                )
            )
            for path in task.outputs
        ]
        yield writers
        for writer in writers:
            writer.finish()


def _parts(
    reader: AudioReader, enhancer: Enhancer, options: CallOptions, *, stems: bool
) -> Iterator[tuple[np.ndarray, ...]]:
    """Blocks of the result or of both stems, [C, T] each."""
    rate = reader.info.sample_rate
    if stems:
        for both in enhancer.separate_stream(reader.blocks(), rate, **options):
            yield tuple(both[name] for name in STEMS)
    else:
        for part in enhancer.stream(reader.blocks(), rate, **options):
            yield (part,)
