"""How many threads can work at once, and how those of OpenMP wait for work. Nothing here loads torch."""

from __future__ import annotations

import os


def choose_wait_policy() -> None:
    """Let idle threads sleep, unless the user has chosen.

    By default they spin, and on a machine that others use too every thread that does so takes a core from one that has
    work (`benchmarks/waiting.py`). The setting affects the whole process, so only the command calls this, never the
    library.

    Example:
        >>> choose_wait_policy()
        >>> os.environ["OMP_WAIT_POLICY"] in ("PASSIVE", "passive", "ACTIVE", "active")
        True
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def core_count() -> int:
    """The cores that this process may use, which in a container or a batch job are fewer than the machine has.

    Example:
        >>> core_count() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
