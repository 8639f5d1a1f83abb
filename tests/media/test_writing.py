"""Every pair of codec and container that is written comes back whole and in its place, read by another program."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from exdiff.audio import decode
from exdiff.audio.codecs import CODECS, CONTAINERS, bit_rate_of, rate_of
from exdiff.audio.encode import AudioWriter
from exdiff.audio.info import AudioInfo
from exdiff.audio.layouts import default_layout
from exdiff.audio.tags.metadata import Metadata
from exdiff.audio.targets import Target, choose_target
from exdiff.core.errors import AudioError

PAIRS = [(name, codec) for name, container in CONTAINERS.items() for codec in container.codecs]
FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
# Containers that do not say where the last packet's sound ends.
NO_END = {"adts", "ts", "ac3", "eac3", "mp2"}
# FFmpeg before version 6 does not take the encoder's delay out of these.
DELAYED = {("mkv", codec): CODECS[codec].delay for codec in ("aac", "mp3", "mp2", "ac3", "eac3")}


def sound(channels, frames, click, seed=0):
    """Quiet noise with a short loud burst that begins at sample `click`."""
    rng = np.random.default_rng(seed)
    wave = 3e-3 * rng.standard_normal((channels, frames))
    burst = np.random.default_rng(9).uniform(-0.8, 0.8, 96)
    wave[:, click : click + 96] += burst[: frames - click]
    return np.clip(wave, -0.99, 0.99).astype(np.float32)


def target(container, codec, rate=48000, channels=2, bits=None, bit_rate=None):
    spec = CODECS[codec]
    bits = bits or (spec.bits[-1] if spec.bits else 0)
    suffix = ".opus" if (container, codec) == ("ogg", "opus") else f".{CONTAINERS[container].suffixes[0]}"
    return Target(container, codec, suffix, bits, bit_rate, rate_of(codec, rate), default_layout(channels))


def write(folder, wanted, wave, pieces=(1, 700, 7000)):
    path = folder / f"x{wanted.suffix}"
    with AudioWriter(path, wanted.sample_rate, len(wave), target=wanted, frames=wave.shape[1]) as writer:
        for block in np.split(wave, [piece for piece in pieces if piece < wave.shape[1]], axis=1):
            writer.write(block)
    return path


def by_ffmpeg(path, channels):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True, check=True)
    assert done.stderr == b""
    return np.frombuffer(done.stdout, np.float32).reshape(-1, channels).T


def lag(got, wave, click):
    """By how many samples the burst comes late, from the peak of the correlation."""
    burst, margin = wave[0, click : click + 96], 1500
    window = np.pad(got[0], margin)[click : click + 2 * margin + 96]
    return int(np.correlate(window, burst, "valid").argmax()) - margin


@FFMPEG
@pytest.mark.parametrize("frames", [4608, 30001])
@pytest.mark.parametrize(("container", "codec"), PAIRS)
def test_length_and_place(tmp_path, container, codec, frames):
    wave = sound(2, frames, 3000)
    wanted = target(container, codec)
    path = write(tmp_path, wanted, wave)
    frame = CODECS[codec].frame or 1024
    ours, theirs = decode(path)[0], by_ffmpeg(path, 2)
    if CODECS[codec].lossy:
        late = DELAYED.get((container, codec), 0)
        open_end = (
            container in NO_END or codec in ("ac3", "eac3") or (codec, container) in (("mp3", "mp4"), ("mp3", "mov"))
        )
        assert 0 <= ours.shape[1] - frames < (frame if open_end else 1)
        # FFmpeg takes the first block of an Ogg Vorbis file of one page for sound, and cuts as much off its end.
        least = -128 if (container, codec) == ("ogg", "vorbis") else 0
        assert least <= theirs.shape[1] - frames < frame + late
        assert lag(ours, wave, 3000) == 0
        assert lag(theirs, wave, 3000) in (0, late, least)
        return
    assert ours.shape == theirs.shape == wave.shape
    step = 2.0 ** (1 - wanted.bits) if wanted.bits else {"f": 1e-9, "m": 0.03, "a": 0.03}[codec[4]]
    for got in (ours, theirs):
        assert np.abs(got - wave).max() <= 0.5001 * step + 1e-7 or not wanted.bits
        assert np.abs(got - wave).max() <= step + 1e-7


@pytest.mark.parametrize("frames", [1, 47, 600, 1151, 1152, 2304, 2351])
@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", "vorbis", "alac", "flac", "wavpack", "tta"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_short_sounds_have_their_exact_length(tmp_path, codec, rate, frames):
    """At 1181 samples and the like LAME adds a packet of nothing but padding."""
    if codec == "opus":
        rate = 48000
    home = {"aac": "mp4", "alac": "mp4", "opus": "ogg", "vorbis": "ogg", "wavpack": "wv"}.get(codec, codec)
    for length in (frames, frames + 29):
        wave = sound(1, length, 0)
        path = write(tmp_path, target(home, codec, rate, 1), wave)
        assert decode(path)[0].shape == wave.shape
        if home in ("mp3", "ogg", "flac"):
            assert soundfile.info(path).frames == length


@pytest.mark.parametrize("codec", ["mp2", "ac3", "eac3"])
@pytest.mark.parametrize("frames", [1536 * 3, 1536 * 3 - 100, 1152 * 4, 1152 * 4 - 300])
def test_encoders_that_hold_samples_back_give_the_last_ones_too(tmp_path, codec, frames):
    wave = sound(1, frames, frames - 120)
    path = write(tmp_path, target(codec, codec, channels=1), wave)
    assert lag(decode(path)[0], wave, frames - 120) == 0


@FFMPEG
@pytest.mark.parametrize(("codec", "kbit"), [
    ("mp3", 320), ("mp3", 128), ("mp3", 64), ("aac", 64), ("aac", 128), ("aac", 256), ("opus", 32), ("opus", 160),
    ("vorbis", 96), ("vorbis", 192), ("ac3", 448), ("ac3", 192), ("eac3", 256), ("mp2", 192), ("mp2", 384),
])  # fmt: skip
def test_the_bit_rate_is_about_that_of_the_source(tmp_path, codec, kbit):
    home = {"aac": "mp4", "opus": "ogg", "vorbis": "ogg"}.get(codec, codec)
    rng = np.random.default_rng(4)
    wave = (0.2 * np.cumsum(rng.standard_normal((2, 48000 * 8)), axis=1) % 1.0 * 0.3).astype(np.float32)
    info = AudioInfo(48000, 2, None, codec, codec, home, 1000 * kbit, ("FL", "FR"), 0)
    wanted, notes = choose_target(info, f".{CONTAINERS[home].suffixes[0]}" if codec != "opus" else ".opus")
    assert notes == []
    assert wanted.codec == codec
    path = write(tmp_path, wanted, wave)
    got = path.stat().st_size * 8 / 8.0 / 1000
    assert got == pytest.approx(kbit, rel=0.25)


def test_bit_rates_that_an_encoder_does_not_have_become_the_nearest():
    assert bit_rate_of("mp3", 187_000, 44100, 2) == 192_000
    assert bit_rate_of("mp3", 320_000, 16000, 1) == 160_000
    assert bit_rate_of("mp3", 900_000, 44100, 2) == 320_000
    assert bit_rate_of("mp2", 384_000, 48000, 1) == 192_000
    assert bit_rate_of("ac3", 100_000, 48000, 6) == 192_000
    assert bit_rate_of("opus", 2_000_000, 48000, 2) == 512_000
    assert bit_rate_of("aac", 512_000, 8000, 1) == 48_000
    assert bit_rate_of("flac", 512_000, 8000, 1) is None


@pytest.mark.parametrize("codec", [name for name, spec in CODECS.items() if spec.lossy])
@pytest.mark.parametrize("kbit", [1, 24, 77, 5000])
def test_any_bit_rate_asked_for_can_be_written(tmp_path, codec, kbit):
    for channels, rate in ((1, 16000), (min(6, CODECS[codec].max_channels), 48000)):
        home = next(name for name, one in CONTAINERS.items() if codec in one.codecs)
        info = AudioInfo(rate, channels, None, codec, codec, home, None, default_layout(channels), 0)
        wanted, _ = choose_target(info, f".{CONTAINERS[home].suffixes[0]}", bitrate=kbit)
        write(tmp_path, wanted, sound(channels, 5000, 100))


@pytest.mark.parametrize("name", ["x.aac", "x.ac3", "x.mka", "x.webm", "x.aiff", "x.m4b", "x.wv", "x.ts"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, name):
    (tmp_path / name).write_text("before")
    with pytest.raises(KeyboardInterrupt), AudioWriter(tmp_path / name, 48000, 2) as writer:
        writer.write(sound(2, 5000, 100))
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == [name]
    assert Path(tmp_path / name).read_text() == "before"


@pytest.mark.skipif(os.name == "nt", reason="a limit on the size of files stands for a full disk")
@pytest.mark.parametrize("short", [1, 700, 5000])
@pytest.mark.parametrize(
    "name", ["x.flac", "x.ogg", "x.wav", "x.aiff", "x.mp3", "x.mka", "x.m4b", "x.webm", "x.ac3", "x.tta"]
)
def test_a_disk_that_fills_is_noticed_with_metadata_too(tmp_path, name, short):
    import resource

    metadata = Metadata({"title": "T" * 3000}, chapters=[(0.0, 0.1, "one"), (0.1, 1.0, "two")])
    wave = sound(2, 60000, 100)
    codec = "vorbis" if name == "x.webm" else None

    def once():
        home = next(key for key, one in CONTAINERS.items() if name[2:] in one.suffixes)
        wanted = replace(target(home, codec or CONTAINERS[home].codecs[0]), suffix=name[1:])
        with AudioWriter(tmp_path / name, 48000, 2, target=wanted, metadata=metadata) as writer:
            writer.write(wave)

    once()
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - short, limits[1]))
    try:
        with pytest.raises(AudioError, match="cannot write"):
            once()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "before"
