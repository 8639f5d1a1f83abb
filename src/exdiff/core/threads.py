"""How many threads can work at once, and how those of OpenMP wait for work. Nothing here loads torch."""

from __future__ import annotations

import os

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # how users choose
_SPIN_COUNT = 3000


def limit_spinning() -> None:
    """Let idle threads of GNU OpenMP sleep after a few microseconds, unless the user has chosen.

    By default they spin a hundred times as long, and on a machine that others use too every spinning thread takes a
    core from a thread that has work. Sleeping at once costs up to 15 % on a quiet machine; this count costs nothing
    there (`benchmarks/waiting.py`). The setting affects the whole process, so only the command calls this, never the
    library.

    Example:
        >>> limit_spinning()
        >>> any(name in os.environ for name in WAIT_VARIABLES)
        True
    """
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = str(_SPIN_COUNT)


def core_count() -> int:
    """The cores that this process may use, which in a container or a batch job are fewer than the machine has.

    Example:
        >>> core_count() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
