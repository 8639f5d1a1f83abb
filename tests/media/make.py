"""Small sound files of many formats, made by other programs, or by libsndfile and PyAV.

Each file holds one tone per channel and two clicks, so that lost, moved or permuted sound shows.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import uuid
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from kinds import FORMATS, Format

FRAMES = 23987  # odd, and no multiple of any codec's frame
CLICKS = (6000, 19000)  # samples at which the bursts begin
BURST = np.random.default_rng(7).uniform(-0.7, 0.7, 96)
LONG = 96000  # samples of `long_sound`
LONG_CLICKS = (12000, 84000)
LFE_TONE = 60.0  # Hz; encoders low-pass this channel
_LFE = {6: 3, 7: 3, 8: 3}  # number of channels -> which is the LFE in WAV order (5.1, 6.1, 7.1)


def tone(channel: int, channels: int) -> float:
    """Frequency in Hz of the tone in `channel`, counted in WAV order."""
    return LFE_TONE if _LFE.get(channels) == channel else 440.0 + 310.0 * channel


@cache
def sound(channels: int = 2, rate: int = 48000, frames: int = FRAMES) -> np.ndarray:
    """Float64 [T, C] on the 16-bit grid: every channel has its tone, and all but the LFE the clicks."""
    time = np.arange(frames) / rate
    columns = []
    for channel in range(channels):
        column = 0.12 * np.sin(2 * np.pi * tone(channel, channels) * time)
        if _LFE.get(channels) != channel:
            for start in clicks(frames):
                column[start : start + len(BURST)] += BURST
        columns.append(column)
    return np.round(np.stack(columns, 1) * 32767) / 32768


def long_sound() -> np.ndarray:
    """Float64 [T, 2]: two seconds at 48 kHz, from which half a second can be lost between the two clicks."""
    time = np.arange(LONG) / 48000
    samples = np.stack([0.12 * np.sin(2 * np.pi * tone(channel, 2) * time) for channel in range(2)], 1)
    for start in LONG_CLICKS:
        samples[start : start + len(BURST)] += BURST[:, None]
    return samples


def clicks(frames: int) -> list[int]:
    """Where the clicks of a sound of so many samples begin."""
    return [round(start * frames / FRAMES) for start in CLICKS]


MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}


def wave_file(samples: np.ndarray, rate: int) -> bytes:
    """A 16-bit WAV; with more than two channels it has the extensible header and a mask."""
    channels = samples.shape[1]
    data = np.int16(np.round(samples * 32768)).tobytes()
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    if channels > 2:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        form = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHI", 22, 16, MASKS[channels]) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


class Maker:
    """Makes each file once and keeps it in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def source(self, kind: Format) -> Path:
        """The WAV file that programs encode."""

        def write(path: Path) -> None:
            path.write_bytes(wave_file(sound(kind.channels, kind.rate), kind.rate))

        return self._once(f"source-{kind.channels}-{kind.rate}.wav", write)

    def file(self, name: str, channels: int | None = None) -> Path:
        """A file of the table; the test is skipped where its program is missing."""
        kind = FORMATS[name] if channels is None else replace(FORMATS[name], channels=channels)
        if not kind.ready:
            pytest.skip(f"{kind.program} is not installed")
        title = f"{name.replace(' ', '-')}-{kind.channels}.{kind.suffix}"
        return self._once(title, lambda path: self._make(kind, path))

    def keep(self, title: str, data: bytes) -> Path:
        """A file with this content."""
        return self._once(title, lambda path: path.write_bytes(data))

    def run(self, title: str, command: str, **paths: Path) -> Path:
        """A file made by any command; {out} is its path."""
        words = command.split()
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")

        def make(path: Path) -> None:
            _call([word.format(out=path, **paths) for word in words])

        return self._once(title, make)

    def _make(self, kind: Format, path: Path) -> None:
        words = kind.make.split()
        if words[0] == "soundfile":
            soundfile.write(path, sound(kind.channels, kind.rate), kind.rate, words[2], format=words[1])
        elif words[0] == "pyav":
            _encode_with_pyav(path, words[1], kind)
        else:
            _call([_more(word, kind.channels).format(src=self.source(kind), out=path) for word in words])

    def _once(self, title: str, write) -> Path:
        path = self.folder / title
        if not path.exists():
            part = self.folder / f"{uuid.uuid4().hex}.{title.rpartition('.')[2]}"
            write(part)
            os.replace(part, path)
        return path


def _more(word: str, channels: int) -> str:
    """Bit rates are those of two channels."""
    rate = re.fullmatch(r"(\d+)k?", word)
    if channels <= 2 or not rate or int(rate[1]) < 48:
        return word
    return word.replace(rate[1], str(int(rate[1]) * channels // 2))


def _call(words: list[str]) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _encode_with_pyav(path: Path, codec: str, kind: Format) -> None:
    import av

    samples = sound(kind.channels, kind.rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=kind.rate, layout="mono")
        size = 160
        for start in range(0, len(samples), size):
            piece = np.int16(np.round(samples[start : start + size].T * 32768))
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = kind.rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
