"""Plans `exdiff enhance` before any file is read: expands inputs, names outputs, refuses collisions."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exdiff.audio import FORMATS, SUFFIXES, same_format
from exdiff.audio.files import audio_files, is_audio
from exdiff.core.errors import ConfigError
from exdiff.core.stems import STEMS

RESULT = "enhanced"


@dataclass(frozen=True)
class EnhanceTask:
    """One file to enhance: `outputs` is the result or the two stems; `format` is a key of `FORMATS`."""

    source: Path
    outputs: tuple[Path, ...]
    format: str


def plan_tasks(inputs: Sequence[str], out: Path | None, format: str, stems: bool) -> list[EnhanceTask]:
    """Tasks in order, without duplicates.

    Args:
        inputs: files, folders (with everything below them) and globs. Results of other inputs, from earlier runs, are
            skipped, except files given by name if the new results go elsewhere.
        out: a file or a folder, see `exdiff enhance --help`; None for results beside their inputs.
        format: a key of `FORMATS`, or "same".
        stems: write two outputs per input.

    Raises:
        ConfigError: an input without audio files, or an output that collides with another or with an input.
    """
    found: dict[Path, Path] = {}
    named: set[Path] = set()
    for text in inputs:
        expanded = dict(_expand(text, out))
        found |= {source: relative for source, relative in expanded.items() if source not in found}
        named |= expanded.keys() & {Path(text)}
    for source in _results(found):
        if out is None or source not in named:
            del found[source]
    single = _single_file(out, len(found))
    if out is not None and not single and out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, but {len(found)} results need a folder; name another -o")
    if out is not None and single:
        tasks = [_to_file(source, out, format, stems) for source in found]
    else:
        tasks = [_to_folder(source, relative, out, format, stems) for source, relative in found.items()]
    _check_collisions(tasks)
    return tasks


def _expand(text: str, out: Path | None) -> Iterator[tuple[Path, Path]]:
    """The files of one argument, each with its path below OUT."""
    if not text:
        raise ConfigError("an input is empty; name a file, a folder or a glob, . for the current folder")
    path = Path(text)
    if path.is_dir():
        files = list(_walk(path, out))
        if not files:
            raise ConfigError(f"{text} holds no audio or video files; known suffixes: {' '.join(sorted(SUFFIXES))}")
        yield from ((file, file.relative_to(path)) for file in files)
    elif path.exists() or not glob.has_magic(text):
        yield path, Path(path.name)
    else:
        files = [Path(p) for p in sorted(glob.glob(text, recursive=True))]
        files = [p for p in files if p.is_file() and is_audio(p)]
        if not files:
            raise ConfigError(f"{text} matches no audio or video files")
        root = Path(*_plain_parts(path))
        yield from ((file, file.relative_to(root)) for file in files)


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Audio files below `folder`, without hidden ones and without those in an `out` inside it."""
    files = audio_files(folder)
    if out is not None and out.resolve() != folder.resolve():
        files = [p for p in files if not p.resolve().is_relative_to(out.resolve())]
    yield from files


def _results(files: Iterable[Path]) -> list[Path]:
    """Files with the name of a result of another file beside them."""
    bare = {p: p.with_suffix("") for p in files}
    known = set(bare.values())
    kinds = {f".{kind}" for kind in (RESULT, *STEMS)}
    return [p for p, name in bare.items() if name.suffix in kinds and name.with_suffix("") in known]


def _plain_parts(pattern: Path) -> Iterable[str]:
    """The folders of a glob before its first wildcard."""
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _single_file(out: Path | None, count: int) -> bool:
    return out is not None and count == 1 and is_audio(out) and not out.is_dir()


def _to_file(source: Path, out: Path, format: str, stems: bool) -> EnhanceTask:
    suffix = out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ConfigError(f"cannot write {out.name}; allowed suffixes: {', '.join(FORMATS)}")
    if format not in ("same", suffix):
        raise ConfigError(f"{out.name} does not end with .{format}; leave --format out, or change the name")
    if not stems:
        return EnhanceTask(source, (out,), suffix)
    return EnhanceTask(source, tuple(out.with_name(f"{out.stem}.{stem}{out.suffix}") for stem in STEMS), suffix)


def _to_folder(source: Path, relative: Path, out: Path | None, format: str, stems: bool) -> EnhanceTask:
    chosen = same_format(source.suffix) if format == "same" else format
    place = source if out is None else out / relative
    if stems:
        names = [f"{source.stem}.{stem}.{chosen}" for stem in STEMS]
    else:
        names = [f"{source.stem}.{RESULT}.{chosen}" if out is None else f"{source.stem}.{chosen}"]
    return EnhanceTask(source, tuple(place.with_name(name) for name in names), chosen)


def _check_collisions(tasks: Sequence[EnhanceTask]) -> None:
    sources = {task.source.resolve() for task in tasks}
    taken: dict[Path, Path] = {}
    for task in tasks:
        for output in task.outputs:
            place = output.resolve()
            if place in sources:
                raise ConfigError(f"{output} is an input and would be overwritten; name another -o")
            if place in taken:
                raise ConfigError(
                    f"{taken[place]} and {task.source} would both be written to {output}; "
                    "enhance them into different folders, or rename one"
                )
            taken[place] = task.source
