"""Temporary files: one folder for the server, in it one for each upload and result with a name that nobody guesses."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEEP_SECONDS = 3600.0
_LOOK_SECONDS = 60.0


class TemporaryFolders:
    """The server's folder; what lies in it longer than an hour is deleted, all of it at the end.

    Args:
        keep_seconds: since the last change.

    Attributes:
        root: the folder; only this user may read it.

    Example:
        >>> folders = TemporaryFolders()
        >>> file = folders.new() / "a.wav"
        >>> file.touch()
        >>> folders.sweep(), file.exists()
        (0, True)
        >>> folders.close()
        >>> folders.root.exists()
        False
    """

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="exdiff-demo-")))
        self._keep, self._ended = keep_seconds, threading.Event()
        self._used: list[Path] = []
        atexit.register(self.close)
        threading.Thread(target=self._run, daemon=True, name="housekeeping").start()

    def new(self) -> Path:
        """A new folder."""
        folder = self.root / secrets.token_hex(32)
        folder.mkdir()
        return folder

    @contextmanager
    def using(self, *folders: Path) -> Iterator[None]:
        """Keep these, however old they get."""
        self._used += folders
        try:
            yield
        finally:
            for folder in folders:
                self._used.remove(folder)
                with suppress(OSError):
                    os.utime(folder)  # the hour begins when they are not used any more

    def owns(self, path: str) -> bool:
        """Whether `path` is a file that the page may give out: one that lies in a folder in the root.

        Example:
            >>> folders = TemporaryFolders()
            >>> [folders.owns(f"{folders.root}/{name}") for name in ("a/b.wav", "a", "a/../../b", "a/.claim", "a/b/c")]
            [True, False, False, False, False]
            >>> folders.close()
        """
        place = Path(path)
        inside = place.parts[: len(self.root.parts)] == self.root.parts and ".." not in place.parts
        return inside and len(place.parts) == len(self.root.parts) + 2 and not place.name.startswith(".")

    def sweep(self) -> int:
        """Delete what has not changed for too long; how many entries that were."""
        limit, count = time.time() - self._keep, 0
        for entry in self.root.iterdir():
            if entry not in self._used and _changed(entry) < limit:
                count += 1
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
        return count

    def close(self) -> None:
        """Delete everything."""
        self._ended.set()
        shutil.rmtree(self.root, ignore_errors=True)
        atexit.unregister(self.close)

    def _run(self) -> None:
        while not self._ended.wait(min(_LOOK_SECONDS, self._keep)):
            with suppress(OSError):  # e.g. a file that another thread has just deleted; the next look comes
                self.sweep()


def _changed(entry: Path) -> float:
    """When an entry was changed last; for a folder, anything in it."""
    times = [entry.stat().st_mtime]
    if entry.is_dir():
        times += [file.stat().st_mtime for file in entry.iterdir()]
    return max(times)
