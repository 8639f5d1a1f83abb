"""Intervals against theory, summaries and differences by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exdiff.evaluation.statistics import bootstrap_interval, columns, describe, paired, summarise


def test_interval_is_the_normal_one_for_many_values():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    half = 1.96 * values.std() / math.sqrt(len(values))
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    intervals = [bootstrap_interval(rng.exponential(1.0, 60), resamples=200, seed=i) for i in range(200)]
    assert 0.88 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.98


def test_interval_is_reproducible_and_wider_at_a_higher_level():
    values = np.random.default_rng(3).normal(size=30)
    assert bootstrap_interval(values) == bootstrap_interval(list(values))
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    (low, high), (lower, higher) = bootstrap_interval(values), bootstrap_interval(values, level=0.99)
    assert lower < low < high < higher
    assert bootstrap_interval(values[:5]) is None
    assert bootstrap_interval(values[:6]) is not None


def test_undefined_values_are_left_out_and_counted():
    assert describe([1.0, None, math.nan, 4.0, 4.0]) | {"ci95": 0} == {"mean": 3.0, "ci95": 0, "median": 4.0, "nan": 2}
    assert describe([None]) == {"mean": None, "ci95": None, "median": None, "nan": 1}


def row(file, system, seconds=1.0, rtf=None, **scores):
    return {"file": file, "system": system, "seconds": seconds, "rtf": rtf, **scores}


ROWS = [
    row("1", "A", 1.0, 0.1, pesq=2.0),
    row("2", "A", 3.0, 0.5, pesq=3.0),
    row("3", "A", 1.0, 9.0, error="too short"),
    row("1", "B", pesq=2.5),
    row("2", "B", pesq=None),
    row("3", "B", pesq=4.0),
    row("1", "mixture", pesq=1.0),
    row("2", "mixture", pesq=1.5),
    row("3", "mixture", pesq=2.0),
]


def test_summary_by_hand():
    table = summarise(ROWS, ["A", "B", "mixture"])
    assert table["A"]["pesq"]["mean"] == 2.5
    assert table["A"]["rtf"] == pytest.approx((0.1 * 1 + 0.5 * 3) / 4), "weighted by seconds, failed files left out"
    assert [table[name]["errors"] for name in table] == [1, 0, 0]
    assert [table[name]["pesq"]["nan"] for name in table] == [0, 1, 0]
    assert table["B"]["rtf"] is None
    assert columns(ROWS) == ["pesq"]


def test_differences_use_files_that_both_have():
    table = paired(ROWS, ["A", "B", "mixture"], "mixture")
    assert list(table) == ["B - A", "A - mixture", "B - mixture"]
    assert table["B - A"]["pesq"] == {"mean": 0.5, "ci95": None, "files": 1}
    assert table["A - mixture"]["pesq"]["mean"] == pytest.approx((1.0 + 1.5) / 2)
    assert table["A - mixture"]["pesq"]["ci95"] is None, "too few files"
    assert table["B - mixture"]["pesq"]["mean"] == pytest.approx((1.5 + 2.0) / 2)
    assert paired(ROWS[6:], ["mixture"], "mixture") == {}


def test_pairing_finds_a_small_gain_that_means_hide():
    levels = np.random.default_rng(4).normal(0, 5, 40)
    rows = [row(str(i), "A", si_sdr=level) for i, level in enumerate(levels)]
    rows += [row(str(i), "B", si_sdr=level + 0.3 + 0.01 * (i % 2)) for i, level in enumerate(levels)]
    low, high = paired(rows, ["A", "B"], "A")["B - A"]["si_sdr"]["ci95"]
    assert 0.3 <= low < high <= 0.31
    table = summarise(rows, ["A", "B"])
    assert table["A"]["si_sdr"]["ci95"][1] > table["B"]["si_sdr"]["mean"], "unpaired, the difference is not visible"
