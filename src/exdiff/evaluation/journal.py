"""The journal of a run: every row on disk as soon as it is known, so that an interrupted run goes on where it stopped.

One JSON object a line, the first of them the settings. It lives beside the result and is removed once that is written:
a journal that is there belongs to a run that did not end.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exdiff.errors import ConfigError

Row = dict[str, Any]


class Journal:
    """Rows of an unfinished run, read from `path` if it has the same settings, and those that `add` appends.

    Attributes:
        known: (file, system) -> row; rows with an error are left out, they are worth another try.

    Raises:
        ConfigError: the file belongs to a run with other settings, or is no journal, or cannot be written.

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
        with self._said():
            if path.exists():
                self._read(self._head)

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows; they are on disk when this returns. The first ones make the file."""
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        with self._said():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                lines.insert(0, json.dumps(self._head) + "\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def remove(self) -> None:
        """The run is complete and its result saved."""
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"the journal {str(self.path)!r} cannot be used: {why}") from None

    def _read(self, head: dict[str, Any]) -> None:
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines(keepends=True)
        first = _parse(lines[0]) if lines else None
        if first != head:
            old = (first or {}).get("settings", {})
            other = [key for key, value in head["settings"].items() if old.get(key) != value]
            what = f"another run (its {', '.join(other)} differ)" if old else "no run of this program"
            raise ConfigError(f"{str(self.path)!r} belongs to {what}; remove it, or name another file for the result")
        whole = [line for line in lines[1:] if line.endswith("\n")]
        if len(whole) < len(lines) - 1:  # cut off in the middle of a line: the next row must not be glued to it
            self.path.write_text("".join([lines[0], *whole]), encoding="utf-8")
        rows = [row for row in map(_parse, whole) if row]
        self.known = {(row["file"], row["system"]): row for row in rows if "error" not in row}


def fingerprint(items: Iterable[Any]) -> str:
    """A digest of what may change between two runs: of a path its files and their times, of a dataclass its fields.

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
