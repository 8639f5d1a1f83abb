"""The hidden files in which a result is written before it gets its name."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def new_temporary(path: Path) -> Path:
    """A new name beside `path`; it tells the process, and is short, since `path` may have the maximum length.

    Example:
        >>> new_temporary(Path("a/b.wav")).parent
        PosixPath('a')
    """
    return path.with_name(f"{_beginning(path, os.getpid())}{uuid.uuid4().hex[:8]}.part")


def second_temporary(temporary: Path) -> Path:
    """Another name beside one of `new_temporary`, for what is made in two steps; `unfinished` finds both.

    Example:
        >>> second_temporary(Path(".a.1.b.part"))
        PosixPath('.a.1.b-samples.part')
    """
    return temporary.with_stem(f"{temporary.stem}-samples")


def unfinished(path: Path, process: int) -> Iterator[Path]:
    """What process number `process` has begun to write for `path`, in any order.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "b.wav"
        >>> new_temporary(path).touch()
        >>> len(list(unfinished(path, os.getpid()))), len(list(unfinished(path, 0)))
        (1, 0)
    """
    return path.parent.glob(f"{_beginning(path, process)}*.part")


def _beginning(path: Path, process: int) -> str:
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{process}."
