"""Audiobooks: every chapter, the whole length, and memory that does not grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from checks import find_clicks
from make import BURST, wave_file

MINUTE = 60.0
_MEASURE = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from identity import enhance, save_tiny_model, use_identity
from pathlib import Path
import tempfile
use_identity(setattr)
with tempfile.TemporaryDirectory() as place:
    code, _, stderr, bug = enhance([sys.argv[2], "-o", sys.argv[3], "--model", save_tiny_model(Path(place))])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"code": code, "stderr": stderr, "bug": repr(bug), "peak": peak}))
"""


def audiobook(maker, minutes, rate, channels, chapters):
    """A minute of noise, tone and one click, again and again without encoding again, with chapters of equal length."""
    time = np.arange(round(MINUTE * rate)) / rate
    minute = 0.1 * np.sin(2 * np.pi * 440 * time)[:, None] * np.linspace(1, 0.5, channels)
    minute[rate : rate + len(BURST)] += BURST[:, None]
    wav = maker.keep(f"minute-{channels}-{rate}.wav", wave_file(minute, rate))
    once = maker.run(
        f"minute-{channels}-{rate}.m4a",
        f"ffmpeg -v error -y -i {{wav}} -c:a aac -b:a {48 * channels}k {{out}}",
        wav=wav,
    )
    length = minutes * MINUTE / chapters
    text = ";FFMETADATA1\ntitle=The Book\nartist=A. Reader\n" + "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={round(i * length * 1000)}\nEND={round((i + 1) * length * 1000)}\n"
        f"title=Chapter {i + 1}: ü\n"
        for i in range(chapters)
    )
    description = maker.keep(f"book-{minutes}-{chapters}.txt", text.encode())
    return maker.run(
        f"book-{minutes}-{channels}-{rate}.m4b",
        f"ffmpeg -v error -y -stream_loop {minutes - 1} -i {{once}} -i {{text}} -map 0:a -map_metadata 1 "
        "-map_chapters 1 -c copy -f ipod {out}",
        once=once,
        text=description,
    )


def contents(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        marks = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"].get("title"))
            for c in container.chapters()
        ]
        seconds = float(stream.duration * stream.time_base)
        return marks, seconds, container.metadata.get("title"), stream.codec.canonical_name


def same_book(source, result):
    wanted, seconds, title, codec = contents(source)
    got, length, name, kind = contents(result)
    assert (name, kind) == (title, codec)
    assert [mark[2] for mark in got] == [mark[2] for mark in wanted]
    np.testing.assert_allclose([mark[:2] for mark in got], [mark[:2] for mark in wanted], atol=0.1)
    assert abs(length - seconds) < 0.1


def test_ten_minutes_with_thirty_chapters(maker, put_through):
    source = audiobook(maker, 10, 16000, 1, 30)
    assert len(contents(source)[0]) == 30
    run = put_through(source)
    assert run.check() == "whole", run.stderr
    assert run.result.suffix == ".m4b"
    same_book(source, run.result)
    places = [clicks_of(path) for path in (source, run.result)]
    assert len(places[0]) == 10
    assert np.abs(np.subtract(*places)).max() <= 3


def clicks_of(path):
    """One place per minute, in samples."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray()[0] for frame in container.decode(stream)]
    whole = np.concatenate(parts)
    return find_clicks(whole)


@pytest.mark.skipif(os.environ.get("EXDIFF_SLOW") != "1", reason="takes minutes; EXDIFF_SLOW=1 runs it")
def test_three_hours_in_little_memory(tmp_path, maker):
    source = audiobook(maker, 180, 48000, 2, 40)
    out = tmp_path / "out.m4b"
    command = [sys.executable, "-c", _MEASURE, str(Path(__file__).parent), str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    assert (answer["code"], answer["stderr"], answer["bug"]) == (0, "", "None")
    same_book(source, out)
    assert answer["peak"] < 1.2e9, f"{answer['peak'] / 1e6:.0f} MB"
