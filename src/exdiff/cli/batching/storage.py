"""Where files come from and go to: a folder of this machine, or what fsspec reaches by a URL (s3://, gs://, memory://).

A reader never sees half a file: a folder gets results under another name first (`AudioWriter`), object stores show an
object when it is whole, and elsewhere a file is uploaded under a hidden name and renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from exdiff.core.errors import ConfigError, ExDiffError

# What is uploaded to these is seen when it is complete; they have no folders, and renaming would be a copy.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "sftp": "paramiko"}


class StorageError(ExDiffError):
    """A file could not be fetched or put; another attempt may succeed."""


class Storage(Protocol):
    """A tree of files; names are relative to its root, with slashes. It travels to workers."""

    def address(self, name: str) -> str:
        """How messages call a file."""
        ...

    def check(self) -> None:
        """Raise ConfigError if this machine lacks what it takes."""
        ...

    def files(self) -> Iterator[tuple[str, int]]:
        """Names and sizes in bytes (0 if unknown) of all files, in any order; nothing if the root does not exist.

        Raises:
            StorageError: a part of the tree cannot be listed; its files must not be missing without a word.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def reading(self, name: str, size: int, folder: Path) -> Path:
        """The file on this machine: itself, or a copy in `folder`, whose size must be `size`."""
        ...

    def writing(self, name: str, folder: Path) -> Path:
        """Where to write the file: its place, or one in `folder`, from which `put` takes it."""
        ...

    def put(self, path: Path, name: str) -> None:
        """Store what was written to `writing(name)`."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it exists and that is allowed."""
        ...


def open_storage(text: str) -> Storage:
    """The storage that a command line names.

    Raises:
        ConfigError: a URL that nothing here can read.

    Example:
        >>> open_storage("file:///data/in")
        Folder(root=PosixPath('/data/in'))
        >>> open_storage("s3://bucket/in/")
        Store(url='s3://bucket/in')
    """
    if not text:
        raise ConfigError("a place is empty; name a folder or a URL, . for the current folder")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
        if not text.startswith("/"):
            raise ConfigError(f"file://{text}: a file URL has an absolute path, as in file:///data/in")
    if "://" not in text:
        return Folder(Path(os.path.realpath(text)))
    return Store(text.rstrip("/"))


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or one that all machines share; files are read and written in place."""

    root: Path

    def address(self, name: str) -> str:
        return str(self.root / name) if name else f"{self.root}/"

    def check(self) -> None:
        pass

    def files(self) -> Iterator[tuple[str, int]]:
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(f"{self.root} is a file; name a folder, or use exdiff enhance")
        for place, _, names in os.walk(self.root, onerror=self._give_up):
            for name in names:
                path = Path(place, name)
                with suppress(FileNotFoundError):  # a broken link
                    found = path.stat()
                    if stat.S_ISREG(found.st_mode):
                        yield path.relative_to(self.root).as_posix(), found.st_size

    def _give_up(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise StorageError(f"{error.filename} cannot be listed: {error.strerror}") from error

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def reading(self, name: str, size: int, folder: Path) -> Path:
        return self.root / name

    def writing(self, name: str, folder: Path) -> Path:
        return self.root / name

    def put(self, path: Path, name: str) -> None:
        pass

    def remove(self, name: str) -> None:
        with suppress(OSError):
            (self.root / name).unlink()


@dataclass(frozen=True)
class Store:
    """What fsspec reaches by a URL. Addresses and keys are those of fsspec's own settings and environment variables."""

    url: str

    def address(self, name: str) -> str:
        return f"{self.url}/{name}"

    def check(self) -> None:
        self._open()

    def files(self) -> Iterator[tuple[str, int]]:
        system, root = self._open()
        try:
            for entry in self._entries(system, root):
                if entry["name"] != root:
                    yield entry["name"].removeprefix(root).removeprefix("/"), entry.get("size") or 0
        except FileNotFoundError:
            return
        except Exception as error:
            raise StorageError(f"{self.url} cannot be listed: {_plain(error)}") from error

    def _entries(self, system: Any, root: str) -> Iterator[dict[str, Any]]:
        """All files. fsspec's own walk leaves out what it cannot list, without a word."""
        if self._is_object_store:  # one request for each thousand keys, whatever slashes they have
            found = system.find(root, detail=True)
            system.invalidate_cache()
            yield from found.values()
            return
        waiting = [root]
        while waiting:
            entries: list[dict[str, Any]] = []
            with suppress(FileNotFoundError):  # there is none, or it was removed meanwhile
                entries = system.ls(waiting.pop(), detail=True)
            for entry in entries:
                if entry["type"] == "directory":
                    waiting.append(entry["name"].rstrip("/"))
                else:
                    yield entry

    def has(self, name: str) -> bool:
        system, root = self._open()
        system.invalidate_cache()
        try:
            return system.exists(f"{root}/{name}")
        except Exception as error:
            raise StorageError(f"{self.address(name)}: {_plain(error)}") from error

    def reading(self, name: str, size: int, folder: Path) -> Path:
        system, root = self._open()
        path = folder / "in" / name.rpartition("/")[2]
        path.parent.mkdir(parents=True)
        try:
            system.get_file(f"{root}/{name}", str(path))
        except Exception as error:
            raise StorageError(f"cannot be fetched: {_plain(error)}") from error
        if size and path.stat().st_size != size:
            raise StorageError(
                f"{path.stat().st_size} bytes came, but the listing said {size}; did it change meanwhile?"
            )
        return path

    def writing(self, name: str, folder: Path) -> Path:
        return folder / "out" / name  # whole: two stems may differ in their folders alone

    def put(self, path: Path, name: str) -> None:
        system, root = self._open()
        target = f"{root}/{name}"
        try:
            if self._is_object_store:
                system.put_file(str(path), target)
                return
            parent, _, last = target.rpartition("/")
            system.makedirs(parent, exist_ok=True)
            system.put_file(str(path), f"{parent}/.{last}.part")
            system.mv(f"{parent}/.{last}.part", target)
        except Exception as error:
            raise StorageError(f"{self.address(name)} cannot be written: {_plain(error)}") from error

    def remove(self, name: str) -> None:
        system, root = self._open()
        with suppress(Exception):
            system.rm_file(f"{root}/{name}")

    @property
    def _is_object_store(self) -> bool:
        return self.url.partition(":")[0] in _OBJECT_STORES

    def _open(self) -> tuple[Any, str]:
        """The file system, of which fsspec keeps one a process, and the root's path in it."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigError(f"{self.url} needs the package fsspec; type: pip install 'exdiff[batch]'") from None
        try:
            system, root = url_to_fs(self.url)
        except Exception as error:  # an unknown scheme, a missing package, a wrong setting
            package = _PACKAGES.get(self.url.partition(":")[0])
            if package and isinstance(error, ImportError):
                raise ConfigError(f"{self.url} needs the package {package}; type: pip install {package}") from None
            raise ConfigError(f"{self.url} cannot be used: {_plain(error)}") from None
        return system, root.rstrip("/")


def _plain(error: Exception) -> str:
    """One line about what a library raised.

    Example:
        >>> _plain(PermissionError("Access Denied")), _plain(TimeoutError())
        ('PermissionError: Access Denied', 'TimeoutError')
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
