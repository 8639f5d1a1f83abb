"""What comes through a pipe is what the file gives by name, whatever the codec and however long the file."""

from __future__ import annotations

import io

import numpy as np
import pytest

from exdiff.audio import AudioReader, encode
from exdiff.core.errors import AudioError

RATE = 44100
CASES = ["x.wav", "x.flac", "x.aiff", "x.ogg", "x.opus", "x.mp3", "x.m4a", "x.caf", "x.mka"]


class OneWay(io.RawIOBase):
    """Bytes that can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


@pytest.fixture(params=CASES)
def path(request, tmp_path):
    """Longer than what a pipe is looked at before it is read."""
    path = tmp_path / request.param
    encode(path, (0.1 * np.random.default_rng(0).standard_normal((2, 10 * RATE))).astype(np.float32), RATE)
    assert path.stat().st_size > 1 << 16
    return path


def read(source) -> tuple[np.ndarray, list[str]]:
    with AudioReader(source) as reader:
        return np.concatenate(list(reader.blocks()), axis=-1), reader.notes


def test_a_pipe_gives_what_the_file_gives(path):
    named, piped = read(path), read(OneWay(path.read_bytes()))
    assert np.array_equal(piped[0], named[0])
    assert piped[1] == named[1]


def test_a_cut_is_noticed(path):
    data = path.read_bytes()
    with pytest.raises(AudioError, match="truncated|damaged|not a readable|missing|cannot be read"):
        read(OneWay(data[: 2 * len(data) // 3]))


def test_a_header_that_raw_takes_for_sound_is_mentioned(path):
    with AudioReader(io.BytesIO(path.read_bytes()), raw=("u8", 16000, 1)) as reader:
        assert sum(block.shape[-1] for block in reader.blocks()) == path.stat().st_size
        headed = path.suffix in (".wav", ".flac", ".aiff", ".ogg", ".opus", ".caf")
        assert any("--raw takes for sound" in note for note in reader.notes) is headed
