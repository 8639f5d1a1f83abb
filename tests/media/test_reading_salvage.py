"""Damaged containers: refused with one line, and salvaged with the place of what is missing."""

import numpy as np
import pytest
from sound import click_at, ffmpeg, read, write

from exdiff.core.errors import AudioError


@pytest.fixture
def make(tmp_path):
    """`make(suffix, codec, *options)` -> the path of three seconds of sound with a click at 2.7 s."""

    def call(suffix, codec, *options):
        write(tmp_path / "source.wav", rate=48000, seconds=3, click=2.7)
        ffmpeg("-i", tmp_path / "source.wav", "-c:a", codec, *options, tmp_path / f"x.{suffix}")
        return tmp_path / f"x.{suffix}"

    return call


CUT = [
    ("m4a", "aac", "-movflags", "faststart"),
    ("mov", "alac", "-movflags", "faststart"),
    ("mkv", "aac"),
    ("mka", "flac"),
    ("webm", "libopus"),
    ("avi", "libmp3lame"),
    ("wma", "wmav2"),
    ("tta", "tta"),
    ("wv", "wavpack"),
    ("flv", "aac"),
    ("mp3", "libmp3lame"),
    ("ogg", "libvorbis"),
    ("opus", "libopus"),
]


@pytest.mark.parametrize("kind", CUT, ids=lambda kind: kind[0])
@pytest.mark.parametrize("share", [0.45, 0.85])
def test_a_cut_file(make, kind, share, capfd):
    path = make(*kind)
    whole, _ = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError, match=r"truncated|damaged") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    audio, reader = read(path, salvage=True)
    assert 0.3 * share < audio.shape[1] / whole.shape[1] < share + 0.15
    assert reader.missing[-1][0] == pytest.approx(audio.shape[1] / 48000, abs=0.1)
    length = min(audio.shape[1], whole.shape[1]) - 6000
    np.testing.assert_allclose(audio[:, :length], whole[:, :length], atol=2e-3)
    assert capfd.readouterr() == ("", "")


def test_an_mp4_whose_index_is_missing(make):
    path = make("m4a", "aac")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(AudioError, match=r"truncated: at least \d+ bytes are missing at its end, and without them"):
        read(path, salvage=True)


HOLED = [("m4a", "alac"), ("mka", "flac"), ("tta", "tta"), ("flac", "flac"), ("oga", "flac"), ("ogg", "libvorbis")]


@pytest.mark.parametrize("kind", HOLED, ids=lambda kind: kind[0])
def test_damage_in_the_middle(make, kind):
    path = make(*kind)
    data = bytearray(path.read_bytes())
    place = len(data) * 45 // 100
    data[place : place + 60] = bytes(byte ^ 0x5A for byte in data[place : place + 60])
    path.write_bytes(data)
    with pytest.raises(AudioError, match="damaged"):
        read(path)
    audio, reader = read(path, salvage=True)
    assert len(reader.missing) >= 1
    start, length = reader.missing[0]
    assert 0.2 < start < 2.0
    if kind[0] != "oga":  # libsndfile cannot go on behind the hole
        assert audio.shape[1] == pytest.approx(3 * 48000, abs=600)
        assert click_at(audio, 48000) == pytest.approx(2.7, abs=0.02)
        assert 0.01 < length < 1.6
        middle = audio[:, round((start + 0.1 * length) * 48000) : round((start + 0.9 * length) * 48000)]
        assert np.abs(middle).max() == 0


@pytest.mark.parametrize("share", [0.3, 0.71])
def test_a_recording_of_a_broadcast_may_begin_and_end_anywhere(make, share):
    path = make("ts", "aac", "-f", "mpegts")
    data = path.read_bytes()
    path.write_bytes(data[int(share * len(data)) // 188 * 188 :])
    audio, _ = read(path)
    assert audio.shape[1] / 48000 == pytest.approx(3 * (1 - share), abs=0.3)
    assert click_at(audio, 48000) == pytest.approx(audio.shape[1] / 48000 - 0.3, abs=0.05)


@pytest.mark.parametrize("kind", CUT, ids=lambda kind: kind[0])
def test_a_healthy_file_is_salvaged_as_it_is(make, kind):
    path = make(*kind)
    audio, reader = read(path)
    salvaged, second = read(path, salvage=True)
    np.testing.assert_array_equal(salvaged, audio)
    assert second.missing == []
    assert second.notes == reader.notes
