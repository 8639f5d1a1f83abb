"""At least 500 malformed files of all formats: each ends soon, with one line or a result, and leaves no rest."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from make import FORMATS

FILES = 520
SECONDS = 20
_SHORT = 0.25  # of the samples of a PCM file are enough
_EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x00FFFFFF)


def truncate(data, rng):
    """At the start of the header, inside it, or anywhere behind."""
    place = rng.choice([0, 1, 3, 8, 12, 20, 36, 43, 44, 45, 57, 64, 100, 200, 400, int(rng.integers(1, len(data)))])
    return data[: int(place)]


def truncate_late(data, rng):
    return data[: int(len(data) * rng.uniform(0.3, 1))]


def flip_bits(data, rng):
    """Some bits anywhere."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), int(rng.integers(1, 60))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_header_bits(data, rng):
    changed = bytearray(data)
    for place in rng.integers(0, min(300, len(data)), int(rng.integers(1, 12))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def absurd_numbers(data, rng):
    """Four bytes of the header that say something else, in either order."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(0, min(400, len(data) - 4)))
        changed[place : place + 4] = int(rng.choice(_EXTREMES)).to_bytes(4, str(rng.choice(["little", "big"])))
    return bytes(changed)


def absurd_numbers_at_the_end(data, rng):
    """As above, where MP4 keeps its tables."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place = len(data) - 5 - int(rng.integers(0, min(1500, len(data) - 5)))
        changed[place : place + 4] = int(rng.choice(_EXTREMES)).to_bytes(4, "big")
    return bytes(changed)


def random_behind_magic(data, rng):
    keep = int(rng.choice([4, 12, 16, 28, 44, 64, 128]))
    return data[:keep] + rng.integers(0, 256, int(rng.integers(0, 20000)), np.uint8).tobytes()


def zeros_inside(data, rng):
    place, size = int(rng.integers(0, len(data))), int(rng.integers(1, 4000))
    return data[:place] + bytes(min(size, len(data) - place)) + data[place + size :]


def piece_lost(data, rng):
    place, size = int(rng.integers(0, len(data))), int(rng.integers(1, 4000))
    return data[:place] + data[place + size :]


def piece_twice(data, rng):
    place, size = int(rng.integers(0, len(data))), int(rng.integers(1, 4000))
    return data[: place + size] + data[place:]


def other_format_behind(data, rng):
    return data[: int(rng.integers(1, len(data)))] + b"RIFF\xff\xff\xff\xffWAVEfmt " + data[:1000]


DAMAGES = (
    truncate,
    absurd_numbers,
    flip_header_bits,
    random_behind_magic,
    truncate_late,
    flip_bits,
    absurd_numbers_at_the_end,
    piece_lost,
    zeros_inside,
    piece_twice,
    other_format_behind,
)
READY = [name for name, kind in FORMATS.items() if kind.ready]
ROUNDS = -(-FILES // len(READY))


class Worker:
    """A process that enhances; it is started again if it dies or hangs."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def enhance(self, source: Path, out: Path) -> dict:
        if self._process is None:
            script = Path(__file__).with_name("fuzz_worker.py")
            self._process = subprocess.Popen(
                [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin and self._process.stdout
        print(json.dumps({"source": str(source), "out": str(out)}), file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS + 40)  # the first answer waits for imports
        line = self._process.stdout.readline() if ready else ""
        if not line:
            reason = "hangs" if ready == [] else "crashed the process"
            self.close()
            return {"code": -1, "stderr": "", "bug": reason, "stray": "", "seconds": 0.0, "files": []}
        return json.loads(line)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


def problem(answer: dict, name: str) -> str:
    """What is wrong with one run, or nothing."""
    lines = answer["stderr"].splitlines()
    errors = [line for line in lines if line.startswith("exdiff: error:")]
    if answer["bug"] or "internal error" in answer["stderr"]:
        return answer["bug"] or answer["stderr"]
    if answer["seconds"] > SECONDS:
        return f"took {answer['seconds']:.0f} s"
    if answer["stray"]:
        return f"printed past us: {answer['stray'][:200]}"
    if not all(line.startswith("exdiff: ") for line in lines):
        return f"strange lines: {lines}"
    if answer["code"] and (len(errors) != 1 or name not in errors[0]):
        return f"exit {answer['code']} without one line that names the file: {lines}"
    if answer["code"] and answer["files"]:
        return f"an error left {answer['files']} behind"
    if not answer["code"] and (errors or len(answer["files"]) != 1):
        return f"exit 0 with {answer['files']} and {lines}"
    return ""


@pytest.mark.parametrize("name", READY)
def test_malformed_files(tmp_path, maker, worker, name):
    data = maker.file(name).read_bytes()
    if len(data) > 40000:
        data = data[: int(len(data) * _SHORT)]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    first = READY.index(name)
    problems = []
    for number in range(ROUNDS):
        damage = DAMAGES[(first * ROUNDS + number) % len(DAMAGES)]
        source = tmp_path / f"{number}-{damage.__name__}.{FORMATS[name].suffix}"
        source.write_bytes(damage(data, rng))
        if found := problem(worker.enhance(source, tmp_path / f"out-{number}"), source.name):
            problems.append(f"{source.name}: {found}")
    assert not problems, "\n".join(problems)
