"""The journal of a run: every row is on disk as soon as it is computed, so that an interrupted run can continue.

One JSON object per line, the settings first. It is beside the result and is removed once the result is written: a
journal that exists belongs to an unfinished run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exdiff.core.errors import ConfigError
from exdiff.evaluation.statistics import ScoreRow


class Journal:
    """Rows of an unfinished run: those in `path`, if it has the same settings, and those that `add` appends.

    Attributes:
        known: (file, system) -> row; without rows that have an error, since these are tried again.

    Raises:
        ConfigError: the file belongs to a run with other settings, is not a journal, or cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.json.jsonl"
        >>> Journal(path, {"metrics": ["pesq"]}).add([{"file": "a", "system": "speech", "pesq": 2.0}])
        >>> Journal(path, {"metrics": ["pesq"]}).known["a", "speech"]["pesq"]
        2.0
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.known = path, {}
        self._head = json.loads(json.dumps({"settings": settings}))
        with self._readable_errors():
            if path.exists():
                self._read(self._head)

    def add(self, rows: Iterable[ScoreRow]) -> None:
        """Append rows and write them to disk; the first ones create the file."""
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        with self._readable_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                lines.insert(0, json.dumps(self._head) + "\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def remove(self) -> None:
        """Remove the file: the run is complete and its result saved."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not a text file"
            raise ConfigError(f"the journal {str(self.path)!r} cannot be used: {why}") from None

    def _read(self, head: dict[str, Any]) -> None:
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        first = _parse(lines[0]) if lines else None
        if first != head:
            old = (first or {}).get("settings", {})
            other = [key for key, value in head["settings"].items() if old.get(key) != value]
            what = f"belongs to another run (its {', '.join(other)} differ)" if old else "is not a journal of exdiff"
            raise ConfigError(f"{str(self.path)!r} {what}; remove it, or name another file for the result")
        whole = [line for line in lines[1:] if line.endswith("\n")]
        if len(whole) < len(lines) - 1:  # the last line is cut off: the next row must not be appended to it
            self.path.write_text("".join([lines[0], *whole]), encoding="utf-8")
        rows = [row for row in map(_parse, whole) if row]
        self.known = {(row["file"], row["system"]): row for row in rows if "error" not in row}


def fingerprint(items: Iterable[Any]) -> str:
    """A digest of what may change between two runs: the files of a path and their times, the fields of a dataclass.

    Example:
        >>> fingerprint(["a", "b"]) == fingerprint(["a", "c"])
        False
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(_describe(item).encode() + b"\0")
    return digest.hexdigest()[:16]


def _describe(item: Any) -> str:
    if dataclasses.is_dataclass(item):
        return " ".join(_describe(getattr(item, field.name)) for field in dataclasses.fields(item))
    if not isinstance(item, Path):
        return str(item)
    files = sorted(p for p in item.rglob("*") if p.is_file()) if item.is_dir() else [item]
    return " ".join(f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files if p.exists())


def _parse(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
