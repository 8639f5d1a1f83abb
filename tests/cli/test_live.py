"""`exdiff live`: pipes, sound devices, signals, and what happens when the machine is too slow."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer

from exdiff.checkpoints.checkpoint import build_model, save_model
from exdiff.cli.enhancing.options import RAW_FORMATS, RawFormat
from exdiff.cli.enhancing.pipes import _pack
from exdiff.cli.live import _load, _load_in_words, live
from exdiff.cli.live_streams import Pace, Reader, drive, unpack
from exdiff.core.recipe import Recipe
from exdiff.evaluation.metrics.si_sdr import si_sdr

RATE = 16000
EXAMPLES = Path(__file__).parents[2] / "examples" / "speech"
TINY = ["extractor.channels=[8, 12]", "extractor.hidden=4", "extractor.middle=1", "enhancer.floor_db="]


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A tiny causal model on disk, which gives back its input."""
    folder = tmp_path_factory.mktemp("causal")
    torch.manual_seed(0)
    recipe = Recipe.load("speech-live", TINY)
    save_model(build_model(recipe), recipe, folder)
    return str(folder)


@pytest.fixture(scope="module")
def stream(causal):
    """`stream()` -> a live stream of that model, at its rate."""
    from exdiff.inference import load

    enhancer = load(causal, device="cpu", precision="fp32")
    return lambda: enhancer.live(RATE)


class Clock:
    """Time that passes when somebody lets it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Speaker:
    """Chunks of 20 ms, made while time passes, for whoever fetches them."""

    realtime = True

    def __init__(self, audio, clock):
        self.audio, self.clock = audio, clock

    def __iter__(self):
        for number, chunk in enumerate(np.split(self.audio, range(320, self.audio.shape[1], 320), 1)):
            arrived = 0.02 * (number + 1)
            self.clock.now = max(self.clock.now, arrived)
            yield arrived, chunk


class Slow:
    """A stream whose model takes as long as `cost(now)` says for a second of audio; letting through is free."""

    def __init__(self, live, clock, cost):
        self.live, self.clock, self.cost = live, clock, cost

    def process(self, chunk, *, bypass=False):
        self.clock.now += 0.0 if bypass else self.cost(self.clock.now) * chunk.shape[1] / RATE
        return self.live.process(chunk, bypass=bypass)

    def flush(self):
        return self.live.flush()


class Tape:
    """Keeps what is written, and how late it was."""

    def __init__(self, clock, seconds=0.0):
        self.clock, self.seconds, self.parts, self.late = clock, seconds, [], []

    def write(self, block):
        self.clock.now += self.seconds
        self.parts.append(block)
        self.late.append(self.clock.now - sum(part.shape[1] for part in self.parts) / RATE)


def overloaded(stream, cost, *, pace, seconds=6.0, audio=None, sink_seconds=0.0):
    clock, said = Clock(), []
    if audio is None:
        audio = np.random.default_rng(0).uniform(-0.3, 0.3, (1, round(seconds * RATE))).astype(np.float32)
    tape = Tape(clock, sink_seconds)
    drive(
        Slow(stream, clock, cost), RATE, Speaker(audio, clock), tape, pace, lambda t: said.append((clock.now, t)), clock
    )
    return np.concatenate(tape.parts, 1), audio, tape.late[:-1], said


def test_a_model_that_keeps_up_is_never_left_out(stream):
    pace = Pace(0.1)
    _, _, late, said = overloaded(stream(), lambda now: 0.9, pace=pace)
    assert (pace.moments, pace.seconds, said) == (0, 0.0, [])
    assert max(late) < 0.02


def test_a_stream_never_falls_behind_and_says_so(stream):
    """Half of every second the model takes three times as long as there is."""
    pace = Pace(0.1)
    live = stream()
    heard, audio, late, said = overloaded(live, lambda now: 3.0 if now % 1 > 0.5 else 0.3, pace=pace)
    assert max(late) < 0.1 + 2 * 0.06, "the bound, and the chunks that were being computed"
    assert pace.moments >= 6 and 1.0 < pace.seconds < 3.0
    times = [when for when, _ in said]
    assert 4 <= len(said) <= 6 and all(b - a >= 1 for a, b in pairwise(times))
    assert re.fullmatch(r"cannot keep up: 2\.\d s of the input passed through so far \(moments: 1\d\)", said[-1][1])
    late = live.latency_samples
    np.testing.assert_allclose(heard[:, late:], audio, atol=1e-5)  # this model changes nothing: all is in its place


def test_the_changes_are_faded(stream):
    """A model that halves the sound, and back: the gain never jumps."""
    live = stream()
    extractor = live._engine._extractor
    with torch.no_grad():
        extractor.outlet.bias[: extractor.folding] = 0.5**0.5 - 1  # of the compressed magnitude
    try:
        audio = np.full((1, 6 * RATE), 0.5, np.float32)
        heard, *_ = overloaded(live, lambda now: 3.0 if now % 1 > 0.5 else 0.3, pace=Pace(0.1), audio=audio)
    finally:
        with torch.no_grad():
            extractor.outlet.bias.zero_()
    gain = heard[0, 2 * live.latency_samples : -live.latency_samples] / 0.5
    assert gain.min() == pytest.approx(0.5, abs=0.01) and gain.max() == pytest.approx(1, abs=0.01)
    assert np.abs(np.diff(gain)).max() < 2 * 0.5 * np.pi / 2 / 255, "the slope of a raised cosine over a hop"


def test_without_a_pace_everything_is_computed_however_late(stream):
    _, _, late, said = overloaded(stream(), lambda now: 1.5, pace=None, seconds=2.0)
    assert late[-1] > 0.9 and said == []


def test_an_output_that_takes_no_more_is_not_the_fault_of_the_model(stream):
    pace = Pace(0.1)
    *_, said = overloaded(stream(), lambda now: 0.1, pace=pace, seconds=3.0, sink_seconds=0.025)
    assert pace.moments == 0 and said == []


@pytest.mark.parametrize("name", RAW_FORMATS)
def test_raw_formats_are_read_as_they_are_written(name):
    bits = RAW_FORMATS[name][1]
    values = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    if bits:
        whole = np.rint(values * (2.0 ** (bits - 1) - 1)).astype(np.int32)
        data, values = _pack(whole, name), whole / 2.0 ** (bits - 1)
    else:
        data = values.astype(RAW_FORMATS[name][0]).tobytes()
    np.testing.assert_allclose(unpack(data, RawFormat(name, RATE, 2)), values.T, atol=1e-7)


def reading(pieces, clock, **options):
    """A reader of pieces, which are (seconds that pass before it, bytes)."""

    def read():
        if not pieces:
            return b""
        pause, data = pieces.pop(0)
        clock.now += pause
        return data

    return Reader(read, RawFormat("s16le", RATE, 1), clock=clock, **options)


def test_a_reader_cuts_frames_out_of_any_bytes():
    data = np.arange(2000, dtype="<i2").tobytes()
    pieces = [(0, data[:1]), (0, data[1:2]), (0, data[2:3001]), (0, data[3001:])]
    chunks = [chunk for _, chunk in reading(pieces, Clock())]
    np.testing.assert_array_equal(np.concatenate(chunks, 1)[0] * 32768, np.arange(2000))
    assert max(chunk.shape[1] for chunk in chunks) <= 320


def seen_at_the_end(pieces, **options):
    """What a reader thinks of its source when all has come but the end has not been seen."""
    clock, holding, seen = Clock(), threading.Event(), []
    reader = reading(pieces, clock, **options)
    read = reader._read
    reader._read = lambda: read() if pieces else (seen.append(reader.realtime), holding.set(), b"")[2]
    for _ in reader:
        pass
    assert holding.wait(5) and not reader.realtime, "at the end nothing is late"
    return seen[0]


def test_a_pipe_that_gives_sound_as_time_passes_is_live():
    second = bytes(2 * RATE)
    assert seen_at_the_end([(0.0, second)] + [(0.1, second[: len(second) // 10])] * 15)
    assert not seen_at_the_end([(0.1, second[: len(second) // 10])] * 5), "too early to know"
    assert not seen_at_the_end([(0.1, second)] * 7), "a file"
    assert seen_at_the_end([(0.0, second)], device=True)


def test_an_error_of_the_source_is_raised_where_it_is_read():
    def read():
        raise OSError(5, "gone")

    with pytest.raises(OSError, match="gone"):
        list(Reader(read, RawFormat("s16le", RATE, 1)))


def piped(data, *arguments):
    command = [sys.executable, "-m", "exdiff", "live", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_pcm_in_pcm_out(causal):
    whole = np.random.default_rng(0).integers(-9000, 9000, (4000, 2)).astype("<i2")
    done = piped(whole.tobytes(), "--model", causal, "--raw", "s16le,48000,2", "--json", "--device", "cpu")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0, lines
    assert "latency 35.8 ms at 48000 Hz; computing takes" in lines[0]
    summary = json.loads(lines[-1])
    assert summary.pop("rtf") > 0
    assert summary == {
        "seconds": 0.083,
        "latency_ms": 35.8,
        "passed_through": 0,
        "passed_through_seconds": 0.0,
        "gaps": 0,
        "clipped": 0,
        "sample_rate": 48000,
        "channels": 2,
        "model": causal,
    }
    heard = np.frombuffer(done.stdout, "<i2").reshape(-1, 2)
    late = len(heard) - len(whole)
    assert late == 1719
    assert not heard[:late].any()
    np.testing.assert_allclose(heard[late:], whole, atol=1)


def test_the_default_model_is_for_calls():
    """Late by no more than 40 ms, and worth it."""
    noisy, clean = (
        soundfile.read(EXAMPLES / kind / "02_boat_0dB.flac", dtype="int16")[0] for kind in ("noisy", "clean")
    )
    done = piped(noisy.astype("<i2").tobytes(), "--raw", "s16le,16000,1", "--wait", "--device", "cpu")
    assert done.stderr.decode().startswith("exdiff: speech-live: latency 31.8 ms at 16000 Hz")
    heard = np.frombuffer(done.stdout, "<i2")
    scores = [
        si_sdr(each.astype(float), clean.astype(float), noisy.astype(float), RATE)["si_sdr"]
        for each in (heard[509:], noisy)
    ]
    assert scores[0] - scores[1] > 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw", "s16le"], "give FORMAT,RATE,CHANNELS"),
        (["--raw", "s16le,500,1"], "sample_rate must be a whole number"),
        (["--latency-ms", "10"], "latency_ms must be 32 or more with this model at this rate, got 10"),
        (["--input", "default"], "type: pip install 'exdiff[live]'"),
        (["--model", "speech-lvie"], "speech-lvie"),
    ],
)
def test_what_cannot_be_is_one_clear_line(run, causal, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = run("live", "--model", causal, "--raw", "s16le,16000,1", "--device", "cpu", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr.splitlines()[-1]


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    def load(*arguments, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("exdiff.inference.loading.load", load)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_missing_package_is_said_before_a_model_is_loaded(run, monkeypatch, option):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = run("live", option, "default")
    assert done.exit_code == 2
    assert "type: pip install 'exdiff[live]'" in done.stderr


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("option", ["--input", "--output"])
def test_a_wrong_device_is_said_before_a_model_is_loaded(run, devices, option):
    done = run("live", option, "broken")
    assert done.exit_code == 2
    assert "cannot open the sound device 'broken': Invalid device [-9996]" in done.stderr


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_terminal_is_refused_before_a_model_is_loaded(monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, stream, types.SimpleNamespace(isatty=lambda: True, write=len, flush=lambda: None))
    with pytest.raises((typer.Exit, SystemExit)):
        live()
    name = {"stdin": "input", "stdout": "output"}[stream]
    assert f"standard {name} is a terminal" in capsys.readouterr().err


def test_a_slow_machine_is_told_what_will_happen():
    assert _load_in_words(0.5, wait=False) == "computing takes 50% of the time"
    assert "too slow for it, and much of the input will pass through" in _load_in_words(1.5, wait=False)
    assert _load_in_words(1.5, wait=True).endswith("this machine is too slow for it"), "nothing passes through"


def test_one_slow_hop_does_not_decide():
    """A stream of which every fourth hop takes ten times as long."""

    class Uneven:
        latency_seconds, hop_seconds, frame_by_frame = 1.0, 0.5, False

        def __init__(self):
            self.run, self.calls = types.SimpleNamespace(seconds=0.0, audio_seconds=0.0), 0

        def process(self, noise):
            self.calls += 1
            seconds = noise.shape[1] / RATE
            self.run.audio_seconds += seconds
            self.run.seconds += (4.0 if self.calls % 4 == 2 else 0.4) * seconds

    assert _load(Uneven(), RawFormat("s16le", RATE, 1)) == pytest.approx(0.4)


def test_less_than_a_hop_has_no_percentage(causal):
    done = piped(bytes(2 * 100), "--model", causal, "--raw", "s16le,16000,1", "--device", "cpu")
    assert done.stderr.decode().splitlines()[-1] == "exdiff: 0.0 s; nothing passed through"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_ends_it_cleanly(causal):
    command = [sys.executable, "-m", "exdiff", "live", "--model", causal, "--raw", "s16le,16000,1", "--device", "cpu"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(bytes(6400))
        process.stdin.flush()
        assert len(process.stdout.read(6400 - 2 * 255)) == 6400 - 2 * 255  # it runs
        process.send_signal(signal.SIGINT)
        process.wait(20)
        lines = process.stderr.read().decode().splitlines()
    assert process.returncode == 0
    assert "0.2 s, of which computing took" in lines[-1]
    assert "Traceback" not in " ".join(lines)


@pytest.mark.skipif(os.name != "posix", reason="SIGPIPE")
def test_whoever_has_heard_enough_ends_it_cleanly(causal):
    command = [sys.executable, "-m", "exdiff", "live", "--model", causal, "--raw", "s16le,16000,1", "--device", "cpu"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        process.stdin.write(bytes(64000))
        process.stdin.close()
        lines = process.stderr.read().decode().splitlines()
    assert process.returncode == 0
    assert "of which computing took" in lines[-1] and "Traceback" not in " ".join(lines)


@pytest.fixture
def devices(monkeypatch):
    """A sound card: a microphone that hears `heard` and is then gone, and a loudspeaker that keeps what it plays."""
    made = types.ModuleType("sounddevice")
    made.PortAudioError = type("PortAudioError", (Exception,), {})
    made.heard, made.played, made.opened, made.stopped = io.BytesIO(), [], [], False

    class Stream:
        latency = 0.01

        def __init__(self, **options):
            made.opened.append((type(self).__name__, options))

        def start(self):
            pass

    class RawInputStream(Stream):
        def read(self, frames):
            time.sleep(0.001)
            return made.heard.read(4 * frames), made.heard.tell() == 4 * frames  # at first something was lost

    class RawOutputStream(Stream):
        write_available = 100

        def stop(self):
            made.stopped = True

        def write(self, data):
            made.played.append(data)
            return len(made.played) == 2

    def check(device, channels, dtype, samplerate):
        if device == "broken":
            raise made.PortAudioError("Invalid device\n[-9996]")

    made.check_input_settings = made.check_output_settings = check
    made.RawInputStream, made.RawOutputStream = RawInputStream, RawOutputStream
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def test_a_microphone_is_heard_on_a_loudspeaker(run, causal, devices):
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, 4000).astype("<f4")
    devices.heard = io.BytesIO(audio.tobytes())
    options = ("--model", causal, "--raw", "s16le,16000,1", "--device", "cpu", "--json", "--wait")
    done = run("live", *options, "--input", "3", "--output", "default")
    assert done.exit_code == 0, done.stderr
    played = np.frombuffer(b"".join(devices.played), "<f4")
    late = 100 + 509  # what the device can hold beforehand, and the latency
    assert not played[:late].any()
    np.testing.assert_allclose(played[late:], audio, atol=1e-5)
    (first, heard), (second, spoken) = devices.opened
    assert (first, heard["device"], heard["samplerate"], heard["channels"]) == ("RawInputStream", 3, 16000, 1)
    assert (second, spoken["device"], spoken["latency"]) == ("RawOutputStream", None, pytest.approx(0.046, abs=1e-3))
    assert devices.stopped, "all is played"
    assert "the sound devices add 20 ms" in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["gaps"] == 2


def test_other_models_work_on_windows(run, model, devices):
    devices.heard = io.BytesIO(bytes(40000))
    options = ("--model", model, "--raw", "s16le,16000,1", "--device", "cpu", "--steps", 0, "--latency-ms", 450)
    done = run("live", *options, "--input", "default", "--output", "default")
    assert done.exit_code == 0
    assert "latency 450.0 ms at 16000 Hz; computing takes" in done.stderr
    assert len(b"".join(devices.played)) == 40000 + 4 * (100 + 7200)
    assert done.stderr.splitlines()[-1].startswith("exdiff: 0.6 s, of which computing took")
