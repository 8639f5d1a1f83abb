"""The folder for everything that can be downloaded, decoded or measured again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The cache folder: $EXDIFF_CACHE if set, else $XDG_CACHE_HOME/exdiff, else ~/.cache/exdiff. It may not exist yet.

    Without a home folder (a bare container, a service account) it is in the system's temporary folder.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    chosen = os.environ.get("EXDIFF_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base).absolute() / "exdiff"
    try:
        return Path.home() / ".cache" / "exdiff"
    except RuntimeError:  # neither HOME nor an entry in the password file
        return Path(tempfile.gettempdir()) / f"exdiff-{_user()}"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
