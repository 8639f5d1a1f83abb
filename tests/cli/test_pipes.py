"""Standard input and output and FIFOs, as a shell connects them."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from exdiff.audio import AudioReader, AudioWriter, Metadata, decode, read_metadata
from exdiff.audio.info import AudioInfo
from exdiff.cli.enhancing.options import RAW_FORMATS, RawFormat
from exdiff.cli.enhancing.pipes import PipeWriter, default_sample
from exdiff.cli.enhancing.plan import is_pipe

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")


@pytest.fixture
def shell(model):
    """`shell(data, ...)` -> what `exdiff enhance - ...` writes to standard output, given `data` through a pipe."""

    def call(data, *arguments, code=0):
        command = [sys.executable, "-m", "exdiff", "enhance", "-", "--model", model, "--steps", "0", "--threads", "1"]
        done = subprocess.run([*command, *map(str, arguments)], input=data, capture_output=True, check=False)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout if code == 0 else done.stderr.decode()

    return call


def expected(run, path, model, *options):
    assert run("enhance", path, "-o", path.parent / "out", "--model", model, "--steps", 0, *options).exit_code == 0
    return next((path.parent / "out").iterdir())


def test_wav_through_pipes(tmp_path, run, noise, model, shell):
    noise(tmp_path / "x.wav", rate=22050, channels=2, source_subtype="PCM_24")
    data = shell((tmp_path / "x.wav").read_bytes(), "-o", "-")
    size = decode(tmp_path / "x.wav")[0].size * 3
    assert data[:4] == b"RIFF" and data[4:8] == data[-size - 4 : -size] == b"\xff\xff\xff\xff"
    samples, rate = soundfile.read(expected(run, tmp_path / "x.wav", model), dtype="int32", always_2d=True)
    wanted = (samples >> 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    assert (data[-size:], rate) == (wanted, 22050)
    (tmp_path / "y.wav").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "y.wav")[0], decode(tmp_path / "out" / "x.wav")[0])


def test_flac_through_pipes(tmp_path, run, noise, model, shell):
    noise(tmp_path / "x.flac", channels=2, seconds=1.3)
    data = shell((tmp_path / "x.flac").read_bytes(), "-o", "-")
    assert data.startswith(b"fLaC")
    (tmp_path / "y.flac").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "y.flac")[0], decode(expected(run, tmp_path / "x.flac", model))[0])


def test_raw_through_pipes(tmp_path, run, noise, model, shell):
    noise(tmp_path / "x.wav", rate=8000, channels=2)
    data = (tmp_path / "x.wav").read_bytes()[44:]
    out = soundfile.read(expected(run, tmp_path / "x.wav", model), dtype="int16")[0].astype("<i2").tobytes()
    assert shell(data, "-o", "-", "--raw", "s16le,8000,2") == out
    assert shell(data, "-o", "-", "--raw", "s16le,8000,2", "--format", "wav")[44:] == out
    shell(data, "-o", tmp_path / "new.flac", "--raw", "s16le,8000,2")
    assert soundfile.read(tmp_path / "new.flac", dtype="int16")[0].astype("<i2").tobytes() == out


@pytest.mark.parametrize("suffix", ["flac", "m4a", "wav"])
def test_what_belongs_to_redirected_input_is_kept_and_to_a_pipe_is_missed(tmp_path, shell, model, suffix):
    wanted = Metadata({"title": "Noon"})
    with AudioWriter(tmp_path / f"x.{suffix}", 16000, 1, metadata=wanted) as writer:
        writer.write(np.zeros((1, 4000), np.float32))
    command = [sys.executable, "-m", "exdiff", "enhance", "-", "--model", model, "--steps", "0", "-o"]
    with (tmp_path / f"x.{suffix}").open("rb") as file:
        done = subprocess.run([*command, f"{tmp_path}/file.flac"], stdin=file, capture_output=True, check=True)
    assert done.stderr == b"" and read_metadata(tmp_path / "file.flac").tags["title"] == "Noon"
    piped = [*command, f"{tmp_path}/pipe.flac"]
    done = subprocess.run(piped, input=(tmp_path / f"x.{suffix}").read_bytes(), capture_output=True, check=True)
    assert (b"are not read from a pipe, and left out" in done.stderr) == (suffix != "wav")
    assert "title" not in read_metadata(tmp_path / "pipe.flac").tags
    stripped = [*piped, "--overwrite", "--strip-metadata"]
    done = subprocess.run(stripped, input=(tmp_path / f"x.{suffix}").read_bytes(), capture_output=True, check=True)
    assert done.stderr == b""


def test_a_picture_does_not_come_through_a_pipe(tmp_path, shell):
    assert "and the input is a pipe; name the file itself" in shell(
        b"", "-o", tmp_path / "x.mp4", "--keep-video", code=2
    )


def test_what_is_not_audio_writes_nothing(shell):
    for data, match in ((b"", "-"), (b"no sound" * 100, "-")):
        text = shell(data, "-o", "-", code=2)
        assert text.startswith("exdiff: error: -: ") and text.count("\n") == 1 and match in text


def test_raw_that_ends_within_a_sample(shell):
    text = shell(bytes(4001), "-o", "-", "--raw", "s16le,8000,1", code=2)
    assert text.count("\n") == 1 and text.startswith("exdiff: error: -: ")


def test_fifos(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav")
    os.mkfifo(tmp_path / "in")
    os.mkfifo(tmp_path / "out.wav")
    assert is_pipe(tmp_path / "in")
    got = []

    def feed():
        (tmp_path / "in").write_bytes((tmp_path / "x.wav").read_bytes())

    threads = [threading.Thread(target=f) for f in (feed, lambda: got.append((tmp_path / "out.wav").read_bytes()))]
    for thread in threads:
        thread.start()
    result = run("enhance", tmp_path / "in", "-o", tmp_path / "out.wav", "--model", model, "--steps", 0)
    for thread in threads:
        thread.join()
    assert (result.exit_code, result.stderr) == (0, "")
    (tmp_path / "out.wav").unlink()
    (tmp_path / "in").unlink()
    done = expected(run, tmp_path / "x.wav", model).read_bytes()
    assert got[0][44:] == done[44:]
    assert is_pipe(tmp_path / "x.wav") is False


def test_a_reader_that_goes_away_ends_the_run(tmp_path, noise, model):
    noise(tmp_path / "x.wav", seconds=60)
    command = [sys.executable, "-m", "exdiff", "enhance", str(tmp_path / "x.wav"), "-o", "-", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(timeout=60) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_whose_result_nobody_reads(tmp_path, noise, model, number):
    noise(tmp_path / "x.wav")
    for name in ("in", "out.flac"):
        os.mkfifo(tmp_path / name)
    command = [sys.executable, "-m", "exdiff", "enhance", tmp_path / "in", "-o", tmp_path / "out.flac"]
    command += ["--model", model, "--steps", "0", "--threads", "1"]
    running = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    try:
        (tmp_path / "in").write_bytes((tmp_path / "x.wav").read_bytes())  # returns once it is read
        time.sleep(1)
        assert running.poll() is None
        running.send_signal(number)
        _, stderr = running.communicate(timeout=10)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, stderr) == (130, "exdiff: interrupted; unfinished files were removed\n")


class Slow(io.RawIOBase):
    """Takes 7 bytes at a time, as a full pipe does."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data[:7])
        return min(7, len(data))


@pytest.mark.parametrize("sample", RAW_FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_raw_formats_round_trip(monkeypatch, tmp_path, sample, channels):
    """What is written is what FFmpeg's name means: read back by the reader of --raw."""
    slow = Slow()
    monkeypatch.setattr("exdiff.cli.enhancing.pipes.open_output", lambda path: slow)
    audio = np.random.default_rng(1).uniform(-0.9, 0.9, (channels, 1000)).astype(np.float32)
    info = AudioInfo(8000, channels, None, "", f"pcm_{sample}", "raw")
    with PipeWriter(tmp_path / "-", info, "raw", sample) as writer:
        writer.write(audio[:, :333])
        writer.write(audio[:, 333:])
        writer.finish()
    with AudioReader(io.BytesIO(slow.data), raw=RawFormat(sample, 8000, channels)) as reader:
        got = np.concatenate(list(reader.blocks()), axis=1)
    bits = RAW_FORMATS[sample][1]
    np.testing.assert_allclose(got, audio, atol=2.0**-bits if bits else 0)


@pytest.mark.parametrize("sample", ["u8", "s16le", "s24le", "s32le", "f32le", "f64le"])
@pytest.mark.parametrize("layout", [("FC",), ("FL", "FR"), ("FL", "FR", "FC", "LFE", "SL", "SR")])
def test_wav_headers_say_what_follows(monkeypatch, tmp_path, sample, layout):
    import av

    slow = Slow()
    monkeypatch.setattr("exdiff.cli.enhancing.pipes.open_output", lambda path: slow)
    info = AudioInfo(44100, len(layout), None, "", layout=layout)
    audio = np.random.default_rng(1).uniform(-1, 1, (len(layout), 500)).astype(np.float32)
    with PipeWriter(tmp_path / "-", info, "wav", sample) as writer:
        writer.write(audio)
        writer.finish()
    with av.open(io.BytesIO(slow.data)) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate) == (f"pcm_{sample}", 44100)
        assert stream.codec_context.layout.nb_channels == len(layout)
        assert len(layout) < 6 or stream.codec_context.layout.name == "5.1(side)"
        total = sum(frame.samples for frame in container.decode(stream))
    assert total == 500


@pytest.mark.parametrize("bits", [16, 24])
def test_flac_has_the_exact_integers(monkeypatch, tmp_path, bits):
    slow = Slow()
    monkeypatch.setattr("exdiff.cli.enhancing.pipes.open_output", lambda path: slow)
    limit = 1 << (bits - 1)
    numbers = np.random.default_rng(1).integers(-limit, limit, (2, 10_001)).astype(np.int32)
    with PipeWriter(tmp_path / "-", AudioInfo(48000, 2, None, "", layout=("FL", "FR")), "flac", f"s{bits}le") as writer:
        for start in range(0, 10_001, 3000):
            writer.write_exact(numbers[:, start : start + 3000])
        writer.finish()
    with AudioReader(io.BytesIO(slow.data)) as reader:
        assert reader.info.bits == bits
        got = np.concatenate(list(reader.exact_blocks()), axis=1)
    np.testing.assert_array_equal(got, numbers)


@pytest.mark.parametrize(
    ("codec", "bits", "format", "depth", "sample"),
    [
        ("pcm_s16be", 16, "wav", None, "s16le"),
        ("pcm_s8", 8, "wav", None, "u8"),
        ("pcm_f64le", 0, "wav", None, "f64le"),
        ("pcm_f32le", 0, "flac", None, "s24le"),
        ("mp3", 0, "flac", None, "s16le"),
        ("flac", 24, "wav", None, "s24le"),
        ("flac", 24, "wav", "float", "f32le"),
        ("mp3", 0, "wav", "32", "s32le"),
    ],
)
def test_which_samples_a_pipe_gets(codec, bits, format, depth, sample):
    assert default_sample(AudioInfo(8000, 1, None, "", codec, "x", bits=bits), format, depth) == sample
