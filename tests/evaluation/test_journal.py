"""An interrupted run goes on where it stopped, and only the same run does."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from exdiff.core.errors import ConfigError, DataError
from exdiff.evaluation import Pair, evaluate, evaluate_pairs
from exdiff.evaluation.journal import Journal, fingerprint

from .conftest import RATE, signals, write

SETTINGS = {"metrics": ["si_sdr"], "samples": 0}


class Interrupted(Exception):
    """Ctrl-C, say."""


class Halving:
    """Counts its calls; the one after `last` of them ends the run."""

    def __init__(self, last=99):
        self.calls, self.last = 0, last

    def __call__(self, audio, rate):
        self.calls += 1
        if self.calls > self.last:
            raise Interrupted
        return 0.5 * audio + 0.01


@pytest.fixture
def pairs():
    return [Pair(str(i), *signals(i % 3), RATE) for i in range(5)]


def timeless(result):
    return [row | {"rtf": 0} for row in result["rows"]]


def test_what_is_known_is_not_computed_again(pairs, tmp_path):
    path = tmp_path / "new" / "scores.json.jsonl"
    with pytest.raises(Interrupted):
        evaluate_pairs(pairs, {"half": Halving(3)}, journal=Journal(path, SETTINGS))
    assert len(path.read_text().splitlines()) == 1 + 4, "the settings, then two systems for each file of a block"
    again = Halving()
    result = evaluate_pairs(pairs, {"half": again}, journal=Journal(path, SETTINGS))
    assert again.calls == 3
    assert timeless(result) == timeless(evaluate_pairs(pairs, {"half": Halving()}))
    everything = Journal(path, SETTINGS)
    assert len(everything.known) == 10
    everything.remove()
    assert not path.exists()


def test_a_line_cut_off_and_errors_are_tried_again(pairs, tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, SETTINGS)
    journal.add([{"file": "0", "system": "half", "si_sdr": 1.0}, {"file": "1", "system": "half", "error": "no"}])
    with path.open("a") as file:
        file.write('{"file": "2", "sys')
    journal = Journal(path, SETTINGS)
    assert list(journal.known) == [("0", "half")]
    journal.add([{"file": "3", "system": "half", "si_sdr": 2.0}])
    assert list(Journal(path, SETTINGS).known) == [("0", "half"), ("3", "half")]


def test_another_run_s_journal_is_refused_and_kept(tmp_path):
    path = tmp_path / "j"
    Journal(path, SETTINGS).add([{"file": "0", "system": "half"}])
    before = path.read_text()
    with pytest.raises(ConfigError, match=r"another run \(its metrics differ\)"):
        Journal(path, SETTINGS | {"metrics": ["pesq"]})
    assert path.read_text() == before
    path.write_text("my notes\n")
    with pytest.raises(ConfigError, match="is not a journal of exdiff; remove it"):
        Journal(path, SETTINGS)
    with pytest.raises(ConfigError, match="cannot be used"):
        Journal(tmp_path, SETTINGS)


def test_changed_files_are_another_run(speech, tmp_path):
    for index in range(3):
        write(tmp_path / "est" / f"{index:03d}_noise_+5dB.wav", signals(index)[0])
    journal = tmp_path / "j"
    options = {"estimates": [tmp_path / "est"], "metrics": ["si_sdr"], "journal": journal}
    evaluate(speech, **options)
    assert journal.exists(), "the caller removes it when the result is safe"
    evaluate(speech, **options)
    os.utime(tmp_path / "est" / "001_noise_+5dB.wav", (1, 1))
    with pytest.raises(ConfigError, match="its estimates differ"):
        evaluate(speech, **options)


def test_a_run_that_cannot_begin_leaves_no_journal(speech, tmp_path):
    (tmp_path / "est").mkdir()
    with pytest.raises(DataError, match="lacks the estimates"):
        evaluate(speech, estimates=[tmp_path / "est"], metrics=["si_sdr"], journal=tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_fingerprints(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = fingerprint([tmp_path / "a"])
    assert first == fingerprint([tmp_path / "a"])
    (tmp_path / "a" / "y").write_text("1")
    assert fingerprint([tmp_path / "a"]) != first
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


def test_rows_with_lists_survive(tmp_path):
    row = {"file": "f", "system": "s", "trust": {"uncertainty": [-3.0]}, "pesq": None}
    Journal(tmp_path / "j", {}).add([row])
    assert Journal(tmp_path / "j", {}).known["f", "s"] == row
    with pytest.raises(ValueError, match="JSON compliant"):
        Journal(tmp_path / "j", {}).add([{"x": float(np.nan)}])
    assert all(json.loads(line) for line in (tmp_path / "j").read_text().splitlines())
