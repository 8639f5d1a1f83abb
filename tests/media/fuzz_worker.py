"""Enhances one file after the other in a process with little memory; test_fuzz.py starts it.

A line of JSON in, {"source", "out"}; a line of JSON out, {"code", "stderr", "bug", "stray", "seconds", "files"}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

MEMORY = 2 << 30  # bytes beyond what the imports take


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))


def main() -> None:
    """Answer until standard input ends."""
    from identity import enhance, save_tiny_model, use_identity

    use_identity(setattr)
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as place, open(Path(place) / "stray", "w+b") as stray:
        os.dup2(stray.fileno(), 1)  # what C libraries print
        os.dup2(stray.fileno(), 2)
        model = save_tiny_model(Path(place))
        _limit_memory()
        for line in sys.stdin:
            task = json.loads(line)
            out = Path(task["out"])
            stray.truncate(0)
            stray.seek(0)
            start = time.monotonic()
            code, _, stderr, bug = enhance([task["source"], "-o", out, "--model", model, *task.get("options", [])])
            seconds = time.monotonic() - start
            stray.seek(0)
            answer = {
                "code": code,
                "stderr": stderr,
                "bug": "".join(traceback.format_exception(bug)[-3:]) if bug else "",
                "stray": stray.read().decode(errors="replace"),
                "seconds": seconds,
                "files": [p.name for p in out.rglob("*") if p.is_file()] if out.exists() else [],
            }
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
