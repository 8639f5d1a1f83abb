"""Which files of a source are done, and which are there already. Nothing but names and sizes is looked at."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exdiff.audio.files import is_audio
from exdiff.cli.batching.storage import Folder, Storage
from exdiff.cli.enhancing.length import BYTES_PER_SECOND, Lengths
from exdiff.cli.enhancing.names import check_template, media_suffixes
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask, Plan, collisions, folder_task
from exdiff.cli.enhancing.run import Marks, marks_of
from exdiff.core.errors import ConfigError
from exdiff.core.progress import on_terminal

Work = list[tuple[EnhanceTask, Marks]]
_ABSENT: dict[int, Marks] = {1: [None], 2: [None, None]}  # shared, for there may be a million


@dataclass(frozen=True, slots=True)
class StoredTask(EnhanceTask):
    """A task whose source and outputs are relative to the source's and the target's root.

    Attributes:
        size: of the source in bytes; 0 if unknown.
    """

    size: int = 0


@dataclass
class BatchPlan(Plan):
    """What a run does.

    Attributes:
        unsafe: names in the source that are not used, with the reason.
    """

    unsafe: dict[str, str] = field(default_factory=dict)


def plan_batch(source: Storage, target: Storage, options: Options, part: tuple[int, int] | None) -> BatchPlan:
    """The plan of a run.

    Args:
        source: holds the inputs; files and folders whose names begin with a dot are left out.
        target: takes the results, under the same names unless `options` say otherwise.
        options: of the run.
        part: I and N, to do part I of N.

    Raises:
        ConfigError: one contains the other, the source has no audio files, or options do not fit.
        StorageError: the source cannot be listed.
    """
    if options.name is not None:
        check_template(options.name, options.whats)
    _check_apart(source.address(""), target.address(""))
    refused: dict[str, str] = {}
    sizes: dict[str, int] = {}
    passed_over: Counter[str] = Counter()
    for name, size in source.files():
        if not is_audio(Path(name)):
            passed_over.update(media_suffixes([name]))
        elif reason := unsafe(name):
            refused[name] = reason
        elif not name.startswith(".") and "/." not in name:
            sizes[name] = size
    if not sizes and not refused:
        if isinstance(source, Folder) and not source.root.exists():
            raise ConfigError(f"{source.root} does not exist; name a folder or a URL")
        raise ConfigError(f"{source.address('')} holds no audio or video files; name a folder that does")
    tasks = [_task(name, sizes[name], options) for name in sorted(sizes, key=lambda name: name.split("/"))]
    whole = Plan(tasks, collisions(tasks, str), passed_over)
    mine = whole if part is None else whole.part(*part)
    if part is not None and part[0] > 1:
        refused = {}
    return BatchPlan(mine.tasks, mine.refused, mine.passed_over, unsafe=refused)


def _task(name: str, size: int, options: Options) -> EnhanceTask:
    path = Path(name)
    task = folder_task(path, path, Path(), options)
    return StoredTask(path, task.outputs, task.format, task.whats, path, task.note, size=size)


def unsafe(name: str) -> str:
    """Why a name is not used as that of a file, "" if it is; names in a store are what anybody wrote there.

    Example:
        >>> unsafe("songs/a.wav"), unsafe("../a.wav")
        ('', "a part of its name is '..'")
    """
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "its name holds a control character"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f"a part of its name is {part!r}"
        if os.name == "nt" and set(part) & set('\\:*?"<>|'):
            return "its name cannot be that of a file on Windows"
    return ""


def _check_apart(source: str, target: str) -> None:
    for inner, outer in ((source, target), (target, source)):
        if inner.startswith(outer):
            raise ConfigError(f"{source} and {target} lie within each other; name a target that is elsewhere")


def missing(tasks: Sequence[EnhanceTask], target: Storage) -> tuple[Work, list[EnhanceTask]]:
    """Tasks of which a result is missing, each with what its outputs are now; and tasks that are finished.

    Raises:
        StorageError: the target cannot be listed.
    """
    present = {name for name, _ in target.files()}
    work: Work = []
    finished: list[EnhanceTask] = []
    for task in tasks:
        found = [output.as_posix() in present for output in task.outputs]
        if all(found):
            finished.append(task)
        elif any(found) and isinstance(target, Folder):
            here = tuple(target.root / output for output in task.outputs)
            work.append((task, marks_of(replace(task, outputs=here))))
        else:
            work.append((task, _ABSENT[len(found)]))
    return work, finished


class Sizes(Lengths):
    """Lengths of files that are elsewhere, estimated from their sizes at the mean rate of those that are finished."""

    def __init__(self, work: Work) -> None:
        super().__init__(())
        shown = on_terminal()
        self._left_sizes = {task.source: task.size for task, _ in work if shown and isinstance(task, StoredTask)}
        self._to_come, self._done = sum(self._left_sizes.values()), 0  # bytes

    @property
    def total(self) -> float | None:
        rate = self.settled / self._done if self.settled and self._done else 1 / BYTES_PER_SECOND
        return self.settled + self._to_come * rate if self._left_sizes or self._done else None

    def settle(self, source: Path, seconds: float) -> None:
        size = self._left_sizes.pop(source, 0)
        self._to_come -= size
        self._done += size
        self.settled += seconds
