"""The whole page: on disk, without a network, with names that would be code if they were not escaped."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from exdiff.cli import app
from exdiff.evaluation import Pair
from exdiff.evaluation.comparison import LONGEST_SECONDS, compare_pairs
from exdiff.evaluation.comparison.run import mp3

pytest.importorskip("matplotlib")
RATE = 8000
EVIL = '<script>alert("1")</script> & \'x'


def write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, RATE, subtype="PCM_16")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two files; system `one` is better in the first, `two` in the second."""
    tmp_path = tmp_path_factory.mktemp("comparison")
    names = (EVIL.replace("/", "∕"), "plain")
    for index, name in enumerate(names):
        clean, noise = 0.1 * np.random.default_rng(index).normal(size=(2, RATE))
        write(tmp_path / "data" / "clean" / f"{name}.wav", clean)
        write(tmp_path / "data" / "noisy" / f"{name}.wav", clean + noise)
        for system, gain in (("one", 0.1 + 0.2 * index), ("two", 0.3 - 0.2 * index)):
            write(tmp_path / system / f"{name}.wav", clean + gain * noise)
    return tmp_path / "data", names


class Reader(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(data):
    folder, _ = data
    arguments = ["compare", folder, "--estimates", folder.parent / "one", "--estimates", folder.parent / "two"]
    arguments += ["--metrics", "si_sdr", "--out", folder.parent / "report"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return (folder.parent / "report" / "index.html").read_text(encoding="utf-8"), arguments, result


def test_the_page_stands_alone(page):
    text, _, result = page
    read = Reader(text)
    assert not read.all("link") and len(read.all("script")) == 1 and "src" not in read.all("script")[0]
    sources = [a["src"] for tag in ("img", "audio") for a in read.all(tag)]
    assert sources and all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in read.all("meta")[1]["content"]
    assert not re.search(r"https?://|@import|url\(", re.sub(r"data:[^\"]*", "", text))
    assert result.stdout.startswith("one against the mixture")
    assert "SI-SDR" in result.stdout


def test_every_signal_of_both_cases_can_be_seen_and_heard(page):
    text, _, _ = page
    read = Reader(text)
    each = 2 + 2 * 2 + 1  # mixture and clean; estimate and what was removed; the difference of the two
    assert len(read.all("audio")) == len(read.all("figure")) == 2 * each
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(read.all("audio")[0]["src"].split(",")[1])))
    assert rate == RATE and len(samples) >= RATE
    pictures = [base64.b64decode(a["src"].split(",")[1]) for a in read.all("img")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len(set(pictures)) == len(pictures)


def test_names_are_escaped(page, data):
    text, _, _ = page
    evil = data[1][0]
    assert evil not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)" in text
    assert len(Reader(text).all("script")) == 1


def test_the_report_beside_it(page, data):
    folder = data[0].parent / "report"
    report = json.loads((folder / "report.json").read_text())
    assert {case["file"] for case in report["cases"]} == set(data[1])
    assert set(report["systems"]) == {"one", "two", "mixture"}
    assert len(report["rows"][0]["segments"]) == 3
    assert report["summary"] and report["by_noise"][0]["segments"] + report["by_noise"][1]["segments"] > 0
    assert "leads" in report["cases"][0]["sentence"]
    assert sorted(p.name for p in folder.iterdir()) == ["index.html", "report.json"]


def test_nothing_is_overwritten_unasked(run, page, data, tmp_path):
    _, arguments, _ = page
    place = tmp_path / "index.html"
    place.write_text("mine")
    for more, code in (([], 2), (["--overwrite", "--show", 1], 0)):
        result = run(*arguments[:-1], tmp_path, *more)
        assert result.exit_code == code
        assert ("use --overwrite" in result.stderr) == (code == 2) == (place.read_text() == "mine")
    assert len(Reader(place.read_text()).all("audio")) == 7


def test_wrong_usage_is_one_line_and_leaves_nothing(run, data, tmp_path):
    folder, _ = data
    one = ["--estimates", folder.parent / "one"]
    for more, message in [
        ([*one, "--file", "plian"], "did you mean 'plain'"),
        ([*one, "--samples", 1], "samples must be 2 or more"),
        ([*one, "--metrics", "sisdr"], "did you mean 'si_sdr'"),
        (["--model", "speeech"], "unknown model"),
    ]:
        result = run("compare", folder, *more, "--out", tmp_path / "new")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert message in result.stderr
    assert not (tmp_path / "new").exists()


def test_files_that_were_asked_for_alone_are_scored(run, data, tmp_path):
    one = data[0].parent / "one"
    arguments = ["compare", data[0], "--estimates", one, "--metrics", "si_sdr", "--file", "plain"]
    assert run(*arguments, "--out", tmp_path / "r").exit_code == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert {row["file"] for row in report["rows"]} == {"plain"}


def test_a_model_is_asked_how_sure_it_is(run, model, noise, tmp_path):
    for folder in ("clean", "noisy"):
        noise(tmp_path / "data" / folder / "a.wav")
    arguments = ["compare", tmp_path / "data", "--model", f"{model}@steps=0", "--model", model, "--samples", 2]
    result = run(*arguments, "--metrics", "si_sdr", "--out", tmp_path / "r")
    assert result.exit_code == 0, result.stderr
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert set(report["trust"]) == {model}, "the extractor alone has nothing to draw"
    assert [len(row["trust"]["uncertainty"]) for row in report["rows"] if "trust" in row] == [1]
    text = (tmp_path / "r" / "index.html").read_text()
    assert "discriminative" in text and "generative, 2 steps" in text


def test_stereo_songs_and_players():
    rng = np.random.default_rng(0)
    clean, noise = 0.1 * rng.normal(size=(2, 2, RATE))
    result = compare_pairs([Pair("p", clean, clean + noise, RATE)], {"half": lambda a, r: 0.5 * a}, ["si_sdr"])
    assert len(result["rows"][0]["segments"]) == 3
    for channels, heard in ((1, 1), (2, 2), (5, 1)):
        samples, _ = soundfile.read(io.BytesIO(mp3(0.1 * rng.normal(size=(channels, RATE)), RATE)), always_2d=True)
        assert samples.shape[1] == heard
    assert LONGEST_SECONDS <= 30, "a page must stay small"
