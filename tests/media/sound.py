"""One sound for the tests of reading: soft noise with a click at a known time, in each channel at another level."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from exdiff.audio import AudioReader

CLICK = 0.61  # seconds; where the click's maximum is
NOISE = 0.01


def sound(seconds=1.2, rate=44100, channels=2, click=CLICK, seed=5):
    """Float64 [T, C] on the 16-bit grid."""
    frames, width = round(seconds * rate), round(0.004 * rate)
    audio = NOISE * np.random.default_rng(seed).uniform(-1, 1, (frames, channels))
    if click is not None:
        begin = round(click * rate) - width // 2
        audio[begin : begin + width] += 0.8 * np.hanning(width)[:, None] * np.sin(np.arange(width))[:, None]
    return np.round(audio * 32767) / 32768


def write(path, *, subtype="PCM_16", format=None, **options):
    soundfile.write(path, sound(**options), options.get("rate", 44100), subtype=subtype, format=format)
    return path


def run(program, *arguments):
    """Run a program, or skip the test where it is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


def ffmpeg(*arguments):
    run("ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments)


def read(path, *, stream=None, salvage=False, seconds=0.13):
    """(audio [C, T], the closed reader)."""
    with AudioReader(path, stream, salvage=salvage) as reader:
        audio = np.concatenate(list(reader.blocks(seconds)), axis=1)
    return audio, reader


def click_at(audio, rate, start=0.0, end=None):
    """Seconds at which the energy of the first channel is highest, between `start` and `end` seconds."""
    first = round(start * rate)
    part = audio[0, first : None if end is None else round(end * rate)]
    energy = np.convolve(part.astype(np.float64) ** 2, np.hanning(round(0.006 * rate)), "same")
    return (first + int(np.argmax(energy))) / rate
