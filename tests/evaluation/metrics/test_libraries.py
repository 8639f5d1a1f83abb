"""PESQ, ESTOI and DNSMOS against the packages that they come from, and where those packages fail."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import pytest

from exdiff.evaluation.metrics import dnsmos, estoi, pesq
from exdiff.evaluation.metrics.dnsmos import WINDOW, _session, _windows


def test_pesq_is_the_library_s_wide_band_score(signals):
    from pesq import pesq as theirs

    expected = theirs(16000, signals.clean, signals.estimate, "wb")
    assert pesq(signals.estimate, signals.clean, signals.mixture, 16000)["pesq"] == pytest.approx(expected, abs=1e-3)
    assert pesq(signals.clean, signals.clean, signals.mixture, 16000)["pesq"] == pytest.approx(4.64, abs=0.01)


def test_pesq_survives_more_utterances_than_its_arrays_hold():
    from pesq import pesq as theirs

    rng, time = np.random.default_rng(0), np.arange(26 * 16000) / 16000
    clean = 0.1 * rng.normal(size=time.size) * (time % 0.45 < 0.22)  # 57 bursts; the arrays hold 50
    estimate = clean + 0.01 * rng.normal(size=time.size)
    halves = [slice(0, 13 * 16000), slice(13 * 16000, None)]
    expected = np.mean([theirs(16000, clean[half], estimate[half], "wb") for half in halves])
    assert pesq(estimate, clean, estimate, 16000)["pesq"] == pytest.approx(expected)


def test_pesq_leaves_out_the_silent_part_of_a_long_signal(signals):
    padded = [np.concatenate([s, np.zeros(25 * 16000 - len(s))]) for s in (signals.estimate, signals.clean)]
    alone = [signal[: 25 * 8000] for signal in padded]
    expected = pesq(alone[0], alone[1], alone[0], 16000)["pesq"]
    assert math.isfinite(expected)
    assert pesq(padded[0], padded[1], padded[0], 16000)["pesq"] == expected


def test_pesq_refuses_silence_and_snippets(signals):
    clean = signals.clean
    for estimate, reference in [(0 * clean, clean), (clean, 0 * clean), (clean[9000:12000], clean[9000:12000])]:
        assert math.isnan(pesq(estimate, reference, reference, 16000)["pesq"])


def test_estoi_is_the_library_s_extended_score(signals):
    from pystoi import stoi

    expected = stoi(signals.clean, signals.estimate, 16000, extended=True)
    assert estoi(signals.estimate, signals.clean, signals.mixture, 16000)["estoi"] == pytest.approx(expected, abs=1e-4)
    assert estoi(signals.clean, signals.clean, signals.mixture, 16000)["estoi"] == pytest.approx(1.0, abs=1e-4)


def test_estoi_of_gated_silence_is_the_same_every_time(signals):
    gated = signals.estimate * (np.arange(signals.clean.size) < 25000)
    first = estoi(gated, signals.clean, signals.mixture, 16000)["estoi"]
    np.random.seed(99)
    assert estoi(gated, signals.clean, signals.mixture, 16000)["estoi"] == first
    assert estoi(0 * gated, signals.clean, signals.mixture, 16000)["estoi"] == 0.0


def test_estoi_of_too_little_speech_is_undefined(signals):
    short = signals.clean[:6000]
    assert math.isnan(estoi(short, short, short, 16000)["estoi"])
    mostly_silent = np.where(np.arange(32000) < 2000, 1.0, 0.0) * np.random.default_rng(0).normal(size=32000)
    assert math.isnan(estoi(mostly_silent, mostly_silent, mostly_silent, 16000)["estoi"])


@pytest.fixture(scope="module")
def speechmos():
    """The original wrapper; it needs librosa, which this package does not."""
    for name in ("librosa", "requests"):
        pytest.importorskip(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from speechmos import dnsmos as module
    return module


class Recorder:
    """Stands in for a network: remembers its inputs."""

    def __init__(self):
        self.inputs = []

    def run(self, _, feeds):
        self.inputs.append(next(iter(feeds.values()))[0])
        return [[[1.0, 2.0, 3.0]]]


def test_dnsmos_windows_are_those_of_the_published_code(speechmos):
    theirs = speechmos.DNSMOS.__new__(speechmos.DNSMOS)
    theirs.audio_melspec = lambda audio: np.zeros((1, 1))
    theirs.p808_onnx_sess = Recorder()
    rng = np.random.default_rng(0)
    for seconds in (0.7, 3.0, 9.01, 10.0, 10.5, 16.0, 35.2):
        signal = rng.uniform(-1, 1, int(seconds * 16000)).astype(np.float32)
        theirs.onnx_sess = Recorder()
        theirs(signal, 16000, False)
        ours = _windows(signal)
        assert len(ours) == len(theirs.onnx_sess.inputs) > 0
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs.onnx_sess.inputs, strict=True))


def test_dnsmos_equals_the_original(speechmos, signals):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = speechmos.run(signals.mixture, 16000)
    scores = dnsmos(signals.mixture, signals.clean, signals.mixture, 16000)
    for key in ("ovrl", "sig", "bak"):
        assert scores[f"dnsmos_{key}"] == pytest.approx(float(expected[f"{key}_mos"]), abs=1e-3)
    assert all(1.0 <= value <= 5.0 for value in scores.values())


def test_dnsmos_brings_a_peak_above_one_down_and_leaves_the_rest(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(sys.modules["exdiff.evaluation.metrics.dnsmos"], "_session", lambda: recorder)
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, WINDOW)
    for gain in (0.5, 8.0):
        dnsmos(gain * signal, signal, signal, 16000)
    quiet, loud = recorder.inputs
    assert np.allclose(quiet, 0.5 * signal, atol=1e-6)
    assert np.allclose(loud, signal / np.abs(signal).max(), atol=1e-6)


def test_dnsmos_network_is_loaded_once_and_on_one_thread():
    assert _session() is _session()
    options = _session().get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
