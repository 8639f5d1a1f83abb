"""The whole run: on folders with a fake model, and on signals in memory."""

from __future__ import annotations

import importlib.util
import json
import os
import time

import numpy as np
import pytest

import exdiff.inference.loading
from exdiff.core.errors import AudioError, ConfigError, DataError, DivergenceError, ExDiffError
from exdiff.evaluation import Pair, evaluate, evaluate_pairs, save_json, to_markdown
from exdiff.evaluation.metrics import METRICS
from exdiff.evaluation.workers import ScoringTask, scorer

from .conftest import RATE, signals, write


def towards_clean(audio, sample_rate):
    """A fake enhancer that knows the answers: it takes away nine tenths of the noise of whichever item it gets."""
    for index in range(3):
        clean, mixture = signals(index)
        if np.array_equal(audio, mixture):
            return clean + 0.1 * (mixture - clean)
    return audio


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(
        exdiff.inference.loading, "load", lambda name: lambda audio, rate, **_: towards_clean(audio, rate)
    )


def test_evaluate_end_to_end_has_the_promised_shape(speech, tmp_path, model):
    for index in range(3):
        write(tmp_path / "other" / f"{index:03d}_noise_+5dB.wav", signals(index)[0] * 0.5)
    result = evaluate(speech, ["fake"], [tmp_path / "other"], ["si_sdr", "estoi"])
    assert result["data"] == str(speech) and result["files"] == 3
    assert list(result["systems"]) == ["fake", "other", "mixture"]
    for table in result["systems"].values():
        assert list(table) == ["si_sdr", "si_sir", "si_sar", "estoi", "rtf", "errors"]
        assert set(table["si_sdr"]) == {"mean", "ci95", "median", "nan"}
    systems, paired = result["systems"], result["paired"]
    assert systems["fake"]["rtf"] > 0 and systems["other"]["rtf"] is None and systems["mixture"]["rtf"] is None
    assert systems["other"]["si_sdr"]["mean"] == 100.0
    assert 19 < paired["fake - mixture"]["si_sdr"]["mean"] < 21, "noise a tenth: 20 dB"
    assert list(paired) == ["other - fake", "fake - mixture", "other - mixture"]
    assert [(row["file"][:3], row["system"]) for row in result["rows"]] == [
        (f"{i:03d}", name) for i in range(3) for name in systems
    ]
    save_json(result, tmp_path / "new" / "folder" / "r.json")
    assert json.loads((tmp_path / "new" / "folder" / "r.json").read_text()) == result
    assert to_markdown(result).count("\n| ") == 3 + 4 + 4, "a row a system, a median and a difference, and two headings"


def test_rows_are_the_metrics_themselves(speech):
    row = evaluate(speech, metrics=["si_sdr"])["rows"][2]
    clean, mixture = signals(2)
    expected = METRICS["si_sdr"](mixture, clean, mixture, RATE)
    assert {key: row[key] for key in expected} == expected
    assert (row["seconds"], row["rtf"]) == (0.5, None)


def test_songs_are_enhanced_in_stereo_and_scored_as_their_mean(songs, monkeypatch):
    shapes = []

    def enhance(audio, rate, **_):
        shapes.append(audio.shape)
        return audio * 0.5

    monkeypatch.setattr(exdiff.inference.loading, "load", lambda name: enhance)
    result = evaluate(songs, ["vocals"], metrics=["si_sdr"], limit=1)
    assert shapes[-1] == (2, RATE // 2)
    vocals, accompaniment = signals(0, channels=2)
    mono = (vocals + accompaniment).mean(axis=0)
    expected = METRICS["si_sdr"](mono, vocals.mean(axis=0), mono, RATE)["si_sdr"]
    assert result["rows"][0]["si_sdr"] == pytest.approx(expected, abs=1e-4)


def test_two_workers_give_the_same_rows_in_the_same_order():
    pairs = [Pair(str(i), *signals(i % 3), RATE) for i in range(5)]
    systems = {"half": lambda audio, rate: audio * 0.5}
    one, two = (evaluate_pairs(pairs, systems, ["si_sdr"], workers=n)["rows"] for n in (1, 2))
    assert [row | {"rtf": 0} for row in one] == [row | {"rtf": 0} for row in two]


def test_a_failure_costs_its_row_only(speech, tmp_path):
    write(speech / "noisy" / "001_noise_+5dB.wav", signals(1)[1][:-1])
    for index in range(3):
        write(tmp_path / "est" / f"{index:03d}_noise_+5dB.wav", signals(index)[0][: None if index else -3])
    result = evaluate(speech, estimates=[tmp_path / "est"], metrics=["si_sdr"])
    errors = {(row["file"][:3], row["system"]): row.get("error") for row in result["rows"]}
    assert "they must agree" in errors["001", "est"] and "they must agree" in errors["001", "mixture"]
    assert "7997 samples at 16000 Hz, expected 8000" in errors["000", "est"]
    assert errors["000", "mixture"] is None and errors["002", "est"] is None
    assert result["systems"]["est"]["errors"] == 2 and result["systems"]["mixture"]["errors"] == 1
    assert "est: failed files: 2" in to_markdown(result)
    json.dumps(result, allow_nan=False)


def test_an_enhancer_s_errors_and_nan_are_rows_but_its_bugs_are_not():
    def refuses(audio, rate):
        raise AudioError("too short for me")

    def bug(audio, rate):
        raise ZeroDivisionError

    pair = Pair("p", *signals(0), RATE)
    rows = evaluate_pairs([pair], {"refuses": refuses, "diverges": lambda audio, rate: audio * np.nan})["rows"]
    assert [row.get("error") for row in rows] == [
        "too short for me",
        "the estimate holds NaN or infinite samples",
        None,
    ]
    with pytest.raises(ZeroDivisionError):
        evaluate_pairs([pair], {"bug": bug})


def test_a_file_at_which_the_sampler_diverges_is_a_row():
    def diverges(audio, rate):
        raise DivergenceError("not finite")

    def draws(pair, name, estimate):
        return diverges(estimate, RATE) if name == "drawn" else {}

    pair, systems = Pair("p", *signals(0), RATE), {"at once": diverges, "drawn": lambda audio, rate: audio}
    rows = evaluate_pairs([pair], systems, observe=draws)["rows"]
    assert [row.get("error") for row in rows] == ["not finite", "not finite", None]


def test_undefined_scores_are_null_and_counted():
    clean, mixture = signals(0)
    result = evaluate_pairs([Pair("p", 0 * clean, mixture, RATE), Pair("q", clean, mixture, RATE)], {})
    assert result["rows"][0]["si_sdr"] is None
    assert result["systems"]["mixture"]["si_sdr"]["nan"] == 1
    assert "undefined and left out: si_sdr for 1 files" in to_markdown(result)


def test_real_time_factor_is_work_per_second_of_audio():
    def slow(audio, rate):
        time.sleep(0.05)
        return audio

    result = evaluate_pairs([Pair("p", *signals(0), RATE)], {"slow": slow})
    assert 0.1 <= result["systems"]["slow"]["rtf"] < 0.5


def test_wrong_usage_is_said_before_any_work(speech, tmp_path, monkeypatch):
    pair = Pair("p", *signals(0), RATE)
    (tmp_path / "est").mkdir()
    for error, message, call in [
        (ConfigError, "unknown metric 'pesk'; did you mean 'pesq'", lambda: evaluate(speech, metrics=["pesk"])),
        (ConfigError, "no metric is given; allowed: si_sdr", lambda: evaluate(speech, metrics=[])),
        (ConfigError, "limit must be 1 or more, got 0", lambda: evaluate(speech, limit=0, metrics=["si_sdr"])),
        (ConfigError, "workers must be 1 or more", lambda: evaluate_pairs([pair], {}, workers=0)),
        (ConfigError, "no system may be called 'mixture'", lambda: evaluate_pairs([pair], {"mixture": towards_clean})),
        (DataError, "no pairs", lambda: evaluate_pairs([], {})),
        (DataError, "lacks the estimates of 3", lambda: evaluate(speech, estimates=[tmp_path / "est"])),
    ]:
        with pytest.raises(error, match=message):
            call()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExDiffError, match=r"'pesq' .*exdiff\[eval\]"):
        evaluate(speech, metrics=["si_sdr", "pesq"])


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_dead_worker_is_an_error_with_a_remedy():
    with pytest.raises(ExDiffError, match="workers=1"), scorer(["si_sdr"], 2) as score:
        score([ScoringTask({"file": Deadly()})])


def test_starting_workers_leaves_the_environment_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with scorer(["si_sdr"], 2) as score:
        assert score([ScoringTask({"file": "f"})]) == [{"file": "f"}]
        assert dict(os.environ) == before
