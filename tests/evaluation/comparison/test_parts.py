"""Segments, choice, sentences and pictures by hand."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest

from exdiff.core.errors import ConfigError, ExDiffError
from exdiff.evaluation.comparison import segment_scores
from exdiff.evaluation.comparison.choose import check_names, choose, spread
from exdiff.evaluation.comparison.pictures import curves, differences, require_matplotlib, spectrum_db, tile
from exdiff.evaluation.comparison.segments import HOP_SECONDS, SEGMENT_SECONDS, excerpt, gaps, times_of
from exdiff.evaluation.comparison.summary import by_noise, case_sentence, sentences
from exdiff.evaluation.metrics import si_sdr

RATE = 1000


def row(file, system, si_sdr, segments=None, **more):
    return {"file": file, "system": system, "si_sdr": si_sdr, "segments": segments or [si_sdr], **more}


def test_segments_are_the_metric_on_cuts_and_leave_out_pauses():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 2, 3 * RATE))
    clean[:, RATE : 2 * RATE] *= 1e-3
    estimate = clean + 0.1 * noise
    scores = segment_scores(estimate, clean, clean + noise, RATE)
    assert len(scores) == 11
    assert [i for i, score in enumerate(scores) if score is None] == [4, 5, 6]
    part = slice(250, 750)
    mono = [signal.mean(axis=0)[part] for signal in (estimate, clean, clean + noise)]
    assert scores[1] == pytest.approx(si_sdr(*mono, RATE)["si_sdr"], abs=1e-3)
    middle = times_of(11)[1]
    assert (middle - SEGMENT_SECONDS / 2, middle + SEGMENT_SECONDS / 2) == (0.25, 0.75)
    assert len(segment_scores(clean[0, :100], clean[0, :100], noise[0, :100], RATE)) == 1, "shorter than a segment"


def test_the_excerpt_is_where_they_differ_most():
    calm = [1.0] * 400
    other = calm.copy()
    other[300:320] = [9.0] * 20
    start, end = excerpt({"A": calm, "B": other}, 100.25, 15.0)
    assert end - start == 15.0
    assert start <= 300 * HOP_SECONDS and end >= 320 * HOP_SECONDS
    assert excerpt({"A": calm, "B": other}, 10.0, 15.0) == (0.0, 10.0)
    assert gaps({"A": [1.0, None], "B": [4.0, 1.0], "C": [2.0, 9.0]}) == [3.0, 0.0]


LEADS = {"a": (1, 6), "b": (1, 5), "c": (1, 4), "d": (3, 1), "e": (2, 2.5), "f": (5, 1)}
ROWS = [row(file, name, value) for file, pair in LEADS.items() for name, value in zip("AB", pair, strict=True)]


def test_the_choice_shows_the_leads_of_both():
    assert spread(ROWS, ["A", "B"], "si_sdr")["d"] == (2, "A")
    assert choose(ROWS, ["A", "B"], "si_sdr", 4) == ["a", "f", "b", "d"]
    assert choose(ROWS, ["A", "B"], "si_sdr", 99) == ["a", "f", "b", "d", "c", "e"]
    assert choose(ROWS[1:], ["A", "B"], "si_sdr", 99) == ["b", "f", "c", "d", "e"], "a is not scored by both"
    assert choose([], ["A", "B"], "si_sdr", 3) == []
    errors = [{"file": f, "system": s, "wer": v} for f, s, v in [("a", "A", 0.1), ("a", "B", 0.3)]]
    assert spread(errors, ["A", "B"], "wer")["a"] == (pytest.approx(0.2), "A"), "fewer errors are better"
    with pytest.raises(ConfigError, match="'fil_1'; did you mean 'file_1'"):
        check_names(["fil_1"], ["file_1", "other"])


def test_noise_bins_by_hand():
    rows = []
    for file, lead in (("a", 1.0), ("b", 3.0), *((f"c{i}", 2.0) for i in range(4))):
        rows.append(row(file, "mixture", 0.0, [-5.0, 5.0, 15.0, None]))
        rows.append(row(file, "A", 0.0, [0.0, 8.0, 20.0, 1.0]))
        rows.append(row(file, "B", 0.0, [0.0 + lead, 8.0, None, 1.0]))
    low, middle, high = by_noise(rows, ["A", "B"])
    assert (low["segments"], low["means"], low["mean"]) == (6, [0.0, 2.0], 2.0)
    assert 1.0 < low["ci95"][0] < 2.0 < low["ci95"][1] < 3.0
    assert (middle["means"], middle["mean"]) == ([8.0, 8.0], 0.0)
    assert (high["segments"], high["means"], high["mean"], high["ci95"]) == (0, [None, None], None, None)


def test_in_the_means_of_a_bin_every_file_counts_alike():
    rows = []
    for file, count, lead in (("long", 9, 1.0), ("short", 1, 4.0)):
        rows += [row(file, s, 0.0, [v] * count) for s, v in (("mixture", 3.0), ("A", 5.0 - lead), ("B", 5.0))]
    middle = by_noise(rows, ["A", "B"])[1]
    assert (middle["segments"], middle["means"], middle["mean"]) == (10, [2.5, 5.0], 2.5)


def gain(mean, low, high):
    return {"mean": mean, "ci95": [low, high], "files": 3}


def test_sentences_say_what_the_table_holds():
    rows = [
        row(f, s, v) for f, m, a, b in [("x", 0, 5, 4), ("y", 3, 1, 5)] for s, v in (("mixture", m), ("A", a), ("B", b))
    ]
    paired = {
        "A - mixture": {"si_sdr": gain(1.5, -2, 5), "wer": gain(-0.1, -0.2, -0.05)},
        "B - mixture": {"si_sdr": gain(3.0, 2, 4)},
        "B - A": {"si_sdr": gain(1.5, -1, 4), "pesq": gain(-0.5, -0.6, -0.4), "wer": gain(-0.2, -0.3, -0.1)},
    }
    sign = {"rho": 0.8, "ci95": [0.7, 0.9]}
    trust = {"A": {"uncertainty": sign, "flagged": 0.25, "seconds": 40}}
    told = sentences({"paired": paired, "rows": rows, "trust": trust}, ["A", "B"])
    assert told[0].endswith("lower in 1 of them, most in y (-2.0 dB).")
    assert told[1].startswith("B against the mixture: SI-SDR +3.00 [+2.00, +4.00] dB") and "none" in told[1]
    assert told[2] == "B is better than A in WER ↓ -0.200 [-0.300, -0.100]."
    assert told[3] == "B is worse than A in PESQ -0.50 [-0.60, -0.40]."
    assert told[4] == "No clear difference between A and B in SI-SDR (dB) +1.50 [-1.00, +4.00]."
    assert "+0.80 [+0.70, +0.90], so its error is larger where its samples differ; 25.0 % of 40" in told[-1]
    sign["ci95"] = [-0.1, 0.9]
    assert "do not show" in sentences({"paired": paired, "rows": rows, "trust": trust}, ["A", "B"])[-1]
    sign["ci95"] = None
    told = sentences({"paired": paired, "rows": rows, "trust": trust}, ["A", "B"])
    assert told[-1] == "A: rank correlation of uncertainty and error +0.80; 25.0 % of 40 seconds are flagged."
    assert len(sentences({"paired": paired, "rows": rows}, ["A"])) == 1


def test_the_sentence_of_a_case():
    rows = [row("x", "A", 5.0, [5.0, None, 9.0]), row("x", "B", 3.0, [6.0, 1.0, 4.0])]
    expected = "A leads B by 2.0 dB SI-SDR; most around 0.8 s, by 5.0 dB, while B is ahead around 0.2 s, by 1.0 dB."
    assert case_sentence(rows, "x", ["A", "B"]) == expected
    assert case_sentence(rows, "x", ["A"]) == ""
    assert case_sentence([rows[0], row("x", "B", None, [None])], "x", ["A", "B"]) == ""
    paused = [row("x", "A", 5.0, [None]), row("x", "B", 3.0, [None])]
    assert case_sentence(paused, "x", ["A", "B"]) == "A leads B by 2.0 dB SI-SDR."


def test_spectrum_of_a_tone():
    tone = 0.1 * np.sin(2 * np.pi * 2000 * np.arange(16000) / 16000)
    spectrum = spectrum_db(tone, 16000)
    row_of_peak, _ = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert row_of_peak * 16000 / 512 == pytest.approx(2000)
    assert spectrum.max() == pytest.approx(-20.0, abs=0.05)
    assert spectrum_db(np.zeros(3), 16000).max() == -180.0, "too short for a frame, and silent"


def image(png):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_pictures_share_one_scale_of_colour():
    pytest.importorskip("matplotlib")
    noise = 0.1 * np.random.default_rng(0).normal(size=8000)
    top = float(spectrum_db(noise, 8000).max())
    loud, quiet = (image(tile(gain * noise, 8000, 0.0, top, 0.5))[120:240, 80:].sum() for gain in (1.0, 0.01))
    assert loud > 1.5 * quiet, "40 dB less is darker: each picture is not stretched to its own range"


def test_names_that_mean_something_to_matplotlib_are_drawn_as_text():
    pytest.importorskip("matplotlib")
    names = ["_a$b_{", "$\\frac{1}", "mixture"]
    lines = {name: [1.0, None, 3.0] for name in names}
    trust = {names[0]: {"uncertainty": [-3.0], "flags": [{"start": 0, "end": 1, "why": "uncertainty"}]}}
    assert curves(lines, (0.0, 1.0), trust).startswith(b"\x89PNG")
    plain, shaded = (image(curves(lines, (0.0, 1.0), t)) for t in (None, trust))
    assert len(shaded) > len(plain), "the uncertainty has a panel of its own"
    assert differences({"a": 1.0, "b": -1.0}, ["a"], *names[:2]).startswith(b"\x89PNG")


def test_a_missing_matplotlib_is_said_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExDiffError, match=r"matplotlib.*exdiff\[compare\]"):
        require_matplotlib()
