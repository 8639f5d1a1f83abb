"""Plans `exdiff enhance` before any file is read: expands inputs, names outputs, finds collisions."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exdiff.audio.codecs import CONTAINERS
from exdiff.audio.files import is_audio
from exdiff.audio.targets import plan_suffix
from exdiff.cli.enhancing.inputs import check_local, expand
from exdiff.cli.enhancing.names import BESIDE, MEDIA, MIRRORED, VIDEO, check_template, earlier_results, result_name
from exdiff.cli.enhancing.options import PIPE, PIPE_FORMATS, Options
from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError

_WRITABLE = tuple(dict.fromkeys(name for container in CONTAINERS.values() for name in container.suffixes))


@dataclass(frozen=True, slots=True)
class EnhanceTask:
    """One file to enhance.

    Attributes:
        source: the input; `-` is standard input.
        outputs: one for each of `whats`; `-` is standard output.
        format: as `choose_target` takes it.
        whats: "enhanced", or names of stems.
        relative: of the source, to the folder that was given.
        note: why the suffix is not that of the source.
        to_pipe: the result goes to standard output, a FIFO or a device.
    """

    source: Path
    outputs: tuple[Path, ...]
    format: str
    whats: tuple[str, ...]
    relative: Path
    note: str = ""
    to_pipe: bool = False


@dataclass
class Plan:
    """What a run does.

    Attributes:
        tasks: in order, without duplicates.
        refused: inputs that cannot be done, with the reason; inputs that collide share one.
        passed_over: how many files in folders and globs have a suffix that is not read, by suffix.
        doubt: where the output is a folder and its name looks like that of a file, a line about it.
        earlier: files that are left out, since they have names of results of other inputs.
    """

    tasks: list[EnhanceTask]
    refused: dict[Path, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)
    doubt: str = ""
    earlier: list[Path] = field(default_factory=list)

    def part(self, number: int, count: int) -> Plan:
        """Part `number` of `count`; which part a file belongs to follows from its path below the input folder alone."""
        relative = {task.source: task.relative for task in self.tasks}
        kept = [task for task in self.tasks if _part_of(task.relative, count) == number]
        sources = {task.source for task in kept}
        refused = {
            source: reason
            for source, reason in self.refused.items()
            if source in sources or (source not in relative and number == 1)
        }
        if number != 1:  # what is said about the whole run, the first part says
            return Plan(kept, refused)
        return Plan(kept, refused, self.passed_over, self.doubt, self.earlier)


def plan_tasks(inputs: Sequence[str], out: str | Path | None, options: Options) -> Plan:
    """The plan of a run.

    Args:
        inputs: files, folders (with everything below them), globs, or `-`. Results of other inputs, from earlier runs,
            are skipped, except files given by name if the new results go elsewhere.
        out: a file or a folder (surely so with a slash at the end), see `exdiff enhance --help`; None for results
            beside their inputs; `-`.
        options: of the run.

    Raises:
        ConfigError: an input without audio files, or options that do not fit the inputs.
    """
    if options.name is not None:
        check_template(options.name, options.whats)
    check_local(*inputs, "" if out is None else str(out))
    is_folder = out is not None and (str(out).endswith(("/", os.sep)) or os.path.isdir(out))
    out = None if out is None else Path(out)
    found: dict[Path, Path] = {}
    named: set[Path] = set()
    passed_over: Counter[str] = Counter()
    for text in inputs:
        expanded = dict(expand(text, out, passed_over))
        found |= {source: relative for source, relative in expanded.items() if source not in found}
        named |= expanded.keys() & {Path(text)}
    earlier = [path for path in earlier_results(found, options.name) if out is None or path not in named]
    for source in earlier:
        del found[source]
    if options.keep_video and any(map(is_pipe, found)):
        raise ConfigError(
            "--keep-video needs a file that can be rewound, and the input is a pipe; name the file itself"
        )
    single = out is not None and not is_folder and _is_single(out, len(found))
    if out is not None and not single and os.path.exists(out) and not os.path.isdir(out):
        raise ConfigError(f"{out} is a file, but {len(found)} results need a folder; name another -o")
    if options.name is not None and single:
        raise ConfigError(f"--name names results in a folder, but {out} is one file; leave one out")
    if out is not None and single:
        tasks = [_to_file(source, out, options) for source in found]
    else:
        tasks = [folder_task(source, relative, out, options) for source, relative in found.items()]
    sources = {os.path.realpath(task.source) for task in tasks if not is_pipe(task.source)}
    doubt = "" if out is None or is_folder or single else _doubt(out, len(found))
    return Plan(tasks, collisions(tasks, os.path.realpath, sources), passed_over, doubt, earlier)


def is_pipe(path: Path) -> bool:
    """Whether `path` is standard input or output, a FIFO or a device."""
    # os.path, unlike Path, has no errors for names that are too long and folders that are locked.
    return str(path) == PIPE or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


def _is_single(out: Path, count: int) -> bool:
    """Whether `out`, no folder yet, is a file."""
    if is_pipe(out):
        if count != 1:
            raise ConfigError(f"{out} takes one result, but there are {count} inputs; name a folder with -o")
        return True
    return count == 1 and is_audio(out)


def _doubt(out: Path, count: int) -> str:
    """A line about a folder that may have been meant to be a file; "" for most."""
    suffix = out.suffix.lower().removeprefix(".")
    if count > 1 and is_audio(out):
        return f"{out} becomes a folder, since there are {count} inputs"
    close = [suffix] if suffix in MEDIA else difflib.get_close_matches(suffix, _WRITABLE, n=1, cutoff=0.75)
    if count > 1 or not close:
        return ""
    remedy = f"did you mean .{close[0]}?" if close[0] in _WRITABLE else "it is no suffix that can be written"
    return f"{out} becomes a folder; {remedy}"


def _to_file(source: Path, out: Path, options: Options) -> EnhanceTask:
    suffix, whats = out.suffix.lower().removeprefix("."), options.whats
    relative = Path(source.name)
    if is_pipe(out):
        return EnhanceTask(source, (out,), _pipe_format(out, options), whats, relative, to_pipe=True)
    if suffix not in _WRITABLE:
        raise ConfigError(f"cannot write {out.name}{nearest(suffix, _WRITABLE)}")
    if options.format not in ("same", suffix):
        raise ConfigError(f"{out.name} does not end with .{options.format}; leave --format out, or change the name")
    if options.keep_video and plan_suffix(out, keep_video=True)[1]:
        raise ConfigError(f"{out.name} cannot hold a picture; name an mp4, mov or mkv, or leave --keep-video out")
    outputs = (out,) if len(whats) == 1 else tuple(out.with_name(f"{out.stem}.{what}{out.suffix}") for what in whats)
    kept = options.format == "same" and suffix == source.suffix.lower().removeprefix(".")
    return EnhanceTask(source, outputs, "same" if kept else suffix, whats, relative)


def _pipe_format(out: Path, options: Options) -> str:
    if len(options.whats) > 1:
        raise ConfigError(f"{out} takes one result; choose one with --stem {' or --stem '.join(options.whats)}")
    if options.keep_video:
        raise ConfigError(f"--keep-video needs a file that can be rewound, got {out}; name a file with -o")
    if options.json and str(out) == PIPE:
        raise ConfigError("--json and -o - both write to standard output; leave one out")
    if options.format not in PIPE_FORMATS:
        raise ConfigError(f"{options.format} cannot be written to a pipe; allowed: {', '.join(PIPE_FORMATS)}")
    suffix = out.suffix.lower().removeprefix(".")
    return suffix if options.format == "same" and suffix in PIPE_FORMATS else options.format


def folder_task(source: Path, relative: Path, out: Path | None, options: Options) -> EnhanceTask:
    """The task of one file, whose results go below `out` or, without it, beside the file."""
    if str(source) == PIPE:
        raise ConfigError("standard input has no name for its result; give one with -o FILE, or -o - for a pipe")
    keep_video = options.keep_video and source.suffix.lower().removeprefix(".") in VIDEO
    suffix, note = plan_suffix(source, options.format, keep_video=keep_video)
    place = source if out is None else out / relative
    template = options.name or (BESIDE if out is None or options.stems else MIRRORED)
    outputs = [place.parent / result_name(template, source, what, suffix) for what in options.whats]
    return EnhanceTask(source, tuple(outputs), options.format, options.whats, relative, note)


def collisions(
    tasks: Sequence[EnhanceTask], place: Callable[[Path], str], inputs: Container[str] = ()
) -> dict[Path, str]:
    """Sources whose results would go into one `place`, or into a place of `inputs`, with the reason."""
    writers: defaultdict[str, list[EnhanceTask]] = defaultdict(list)
    refused: dict[Path, str] = {}
    for task in tasks:
        for output in task.outputs:
            if task.to_pipe:
                continue
            where = place(output)
            writers[where].append(task)
            if where in inputs:
                refused[task.source] = f"{output} is an input and would be overwritten; name another -o"
    for where, group in writers.items():
        if len(group) > 1:
            output = next(path for path in group[0].outputs if place(path) == where)
            kinds = {task.source.suffix for task in group}
            remedy = "tell them apart with {ext} in --name" if len(kinds) == len(group) else "rename one"
            reason = (
                f"{' and '.join(str(task.source) for task in group)} would {'both' if len(group) == 2 else 'all'} be "
                f"written to {output}; enhance them into different folders, or {remedy}"
            )
            for task in group:
                refused.setdefault(task.source, reason)
    return refused


def _part_of(relative: Path, count: int) -> int:
    """Of 1 to `count`; the same on every machine and in every version of Python."""
    digest = hashlib.sha256(os.fsencode(relative.as_posix())).digest()
    return int.from_bytes(digest[:8], "big") % count + 1
