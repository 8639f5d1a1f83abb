"""Claims: of several runs on one folder, in processes or on machines that share it, only one writes a given file.

A claim is a hidden file beside the output, created with O_EXCL; it holds the process that made it. A thread renews the
time stamps of all claims of this process. A claim is stale if its process is gone or, where that cannot be seen because
it runs on another machine, if it has not been renewed for long.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from exdiff.audio.writing.unfinished import unfinished
from exdiff.core.errors import AudioError

_RENEW_SECONDS = 60.0
_STALE_SECONDS = 900.0  # without a renewal
_YOUNG_SECONDS = 30.0  # between the creation of a claim and its first line
_TAKEOVER_SECONDS = 60.0  # a takeover takes milliseconds


class ClaimedError(AudioError):
    """Another run writes this output now."""


@contextmanager
def claimed(outputs: Iterable[Path]) -> Iterator[None]:
    """Hold claims on all outputs; their folders are created.

    Raises:
        ClaimedError: another run holds one of them.
        AudioError: a claim cannot be written.
    """
    with ExitStack() as stack:
        for output in outputs:
            claim = claim_path(output)
            try:
                claim.parent.mkdir(parents=True, exist_ok=True)
                _acquire(claim, output)
            except OSError as error:
                raise AudioError(f"cannot write {output}: {error.strerror}") from error
            _RENEWER.add(claim)
            stack.callback(_release, claim)
        yield


def claim_path(output: Path) -> Path:
    """The claim of an output; short, since the output's name may have the maximum length.

    Example:
        >>> claim_path(Path("a/b.wav")).parent
        PosixPath('a')
    """
    digest = hashlib.sha256(os.fsencode(output.name)).hexdigest()
    return output.with_name(f".{digest[:16]}.claim")


def _acquire(claim: Path, output: Path) -> None:
    for _ in range(3):
        if _create(claim, _me()):
            return
        text, age = _look(claim)
        if text is None:
            continue  # released just now
        if not _is_stale(text, age):
            break
        _remove_stale(claim, text, output)
    holder = _holder(claim)
    raise ClaimedError(f"{output}: another run writes it now{holder}; wait for that, or use --skip-existing")


def _create(path: Path, text: str) -> bool:
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(number, text.encode())
    finally:
        os.close(number)
    return True


def _look(claim: Path) -> tuple[str | None, float]:
    """The text of a claim (None if it is gone), and the seconds since it was renewed, by the file system's clock."""
    try:
        text, renewed = claim.read_text(encoding="utf-8", errors="replace"), claim.stat().st_mtime
        with tempfile.TemporaryFile(dir=claim.parent) as probe:
            return text, os.fstat(probe.fileno()).st_mtime - renewed
    except FileNotFoundError:
        return None, 0.0


def _is_stale(text: str, age: float) -> bool:
    try:
        owner = json.loads(text)
        host, pid, start = owner["host"], owner["pid"], owner["start"]
    except (ValueError, KeyError, TypeError):
        return age > _YOUNG_SECONDS
    if host != _host():
        return age > _STALE_SECONDS
    if not isinstance(pid, int) or _start_of(pid) != start:
        return True
    return start == "" and age > _STALE_SECONDS  # another process may have the number by now


def _remove_stale(claim: Path, text: str, output: Path) -> None:
    """Remove a claim if it still holds `text`, and what its owner has begun to write.

    Of several processes that find it stale, one does so at a time.
    """
    guard = claim.with_suffix(".takeover")
    if not _create(guard, _me()):
        if _look(guard)[1] > _TAKEOVER_SECONDS:
            guard.unlink(missing_ok=True)
        time.sleep(0.05)
        return
    try:
        if _look(claim)[0] == text:
            for path in _left_by(text, output):
                path.unlink(missing_ok=True)
            claim.unlink(missing_ok=True)
    finally:
        guard.unlink(missing_ok=True)


def _left_by(text: str, output: Path) -> list[Path]:
    with suppress(ValueError, KeyError, TypeError):
        return list(unfinished(output, int(json.loads(text)["pid"])))
    return []


def _release(claim: Path) -> None:
    _RENEWER.remove(claim)
    with suppress(OSError):
        if claim.read_text(encoding="utf-8") == _me():  # not if it was taken over
            claim.unlink()


def _holder(claim: Path) -> str:
    try:
        owner = json.loads(_look(claim)[0] or "")
        return f" (process {owner['pid']} on {owner['host'].partition('/')[0]})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _me() -> str:
    return _process(os.getpid())


@functools.lru_cache(1)  # a fork has another number
def _process(pid: int) -> str:
    return json.dumps({"host": _host(), "pid": pid, "start": _start_of(pid)})


def _host() -> str:
    """Names this machine, its last start and the container: process numbers are unique only within these."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _start_of(pid: int) -> str | None:
    """When a process was started, in any unit, "" if the system does not say; None if there is no such process."""
    if os.name != "posix":  # on Windows, signal 0 is Ctrl-C
        return ""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


class _Renewer:
    """Renews the time stamps of the claims that this process holds."""

    def __init__(self) -> None:
        self._claims: set[Path] = set()
        self._thread: threading.Thread | None = None

    def add(self, claim: Path) -> None:
        self._claims.add(claim)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="claims")
            self._thread.start()

    def remove(self, claim: Path) -> None:
        self._claims.discard(claim)

    def _run(self) -> None:
        while True:
            time.sleep(_RENEW_SECONDS)
            for claim in tuple(self._claims):
                with suppress(OSError):
                    os.utime(claim)


_RENEWER = _Renewer()
