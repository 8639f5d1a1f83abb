"""Scoring: a row a clip, resumable, the same with several processes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from exdiff.core.errors import DataError
from exdiff.data.clips import read_manifest, read_scores
from exdiff.evaluation.clip_scores import score_clips


def scorer(estimate, clean, mixture, sample_rate):
    """A quality that is the clip's pitch in 100 Hz; at module level, so that another process finds it."""
    assert sample_rate == 16000
    assert clean is mixture is estimate
    quality = round(np.abs(np.fft.rfft(estimate)).argmax() * sample_rate / len(estimate) / 100, 1)
    return {"dnsmos_ovrl": quality, "dnsmos_sig": quality + 1, "dnsmos_bak": float("nan")}


@pytest.fixture
def manifest(tmp_path):
    for name, seconds, rate, pitch in (("a", 1, 16000, 1), ("b", 2, 8000, 2), ("c", 0.9, 16000, 3), ("n", 3, 16000, 4)):
        (tmp_path / "clips").mkdir(exist_ok=True)
        wave = 0.1 * np.sin(2 * np.pi * 100 * pitch * np.arange(round(seconds * rate)) / rate)
        soundfile.write(tmp_path / "clips" / f"{name}.wav", wave, rate)
    lines = [f"clips/{n}.wav,{'noise' if n == 'n' else 'speech'},s{n},{t}" for n, t in zip("abcn", "ACBA", strict=True)]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,kind,speaker,tier", *lines]) + "\n")
    return tmp_path / "manifest.csv"


def table(path) -> dict[str, list[str]]:
    with path.open(newline="") as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["file", "ovrl", "sig", "bak"]
    assert len({r[0] for r in rows}) == len(rows)
    return {r[0]: r[1:] for r in rows[1:]}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_speech_clip_gets_a_row(manifest, workers):
    out = manifest.parent / "out" / "scores.csv"
    assert score_clips(manifest, out, workers, scorer) == 3
    rows = table(out)
    assert rows.keys() == {"clips/a.wav", "clips/b.wav", "clips/c.wav"}
    assert rows["clips/a.wav"] == ["1.0000", "2.0000", ""]
    assert float(rows["clips/b.wav"][0]) == pytest.approx(2, abs=0.01)
    assert rows["clips/c.wav"] == ["", "", ""], "too short"


def test_the_scores_find_their_clips(manifest):
    out = manifest.parent / "scores.csv"
    score_clips(manifest, out, 1, scorer)
    clips = read_scores(read_manifest(manifest, tiers="ABC", kinds=["speech"]), out)
    assert [c.ovrl for c in clips] == [1.0, pytest.approx(2, abs=0.01), None]


def test_an_interrupted_run_goes_on(manifest):
    out, seen = manifest.parent / "scores.csv", []

    def counting(*arguments):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return scorer(*arguments)

    with pytest.raises(KeyboardInterrupt):
        score_clips(manifest, out, 1, counting)
    assert table(out).keys() == {"clips/a.wav"}
    with out.open("a") as lines:
        lines.write("clips/b.w")  # as a power cut leaves it
    assert score_clips(manifest, out, 1, counting) == 2
    assert len(seen) == 3
    assert table(out).keys() == {"clips/a.wav", "clips/b.wav", "clips/c.wav"}
    assert score_clips(manifest, out, 1, counting) == 0


def test_the_level_of_a_clip_does_not_count(manifest):
    peaks = []

    def listening(estimate, *rest):
        peaks.append(np.abs(estimate).max())
        return scorer(estimate, *rest)

    score_clips(manifest, manifest.parent / "scores.csv", 1, listening)
    assert peaks == pytest.approx([0.7, 0.7], abs=1e-6)


def test_another_table_is_not_touched(manifest):
    with pytest.raises(DataError, match="has the columns file, kind, speaker, tier, not file, ovrl, sig, bak"):
        score_clips(manifest, manifest, 1, scorer)
    assert manifest.read_text().startswith("file,kind")


def test_a_clip_that_cannot_be_read_is_named(manifest):
    (manifest.parent / "clips" / "b.wav").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"cannot score a clip: .*b\.wav"):
        score_clips(manifest, manifest.parent / "scores.csv", 1, scorer)


def test_by_default_it_is_dnsmos(manifest, monkeypatch):
    monkeypatch.setattr("exdiff.evaluation.metrics.dnsmos", scorer)
    score_clips(manifest, manifest.parent / "scores.csv")
    assert table(manifest.parent / "scores.csv")["clips/a.wav"][0] == "1.0000"
