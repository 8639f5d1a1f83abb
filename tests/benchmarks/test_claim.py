"""benchmarks/claim.py: the table says what the scores say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "claim.py"


@pytest.fixture(scope="module")
def claim():
    spec = importlib.util.spec_from_file_location("claim", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(**systems):
    return [
        {"system": name, "file": str(i), "si_sdr": value, "si_sir": 2 * value}
        for name, values in systems.items()
        for i, value in enumerate(values)
    ]


def test_relative_changes_and_differences(claim):
    text = claim.report(rows(plain=[8.0, 12.0] * 3, ours=[9.0, 13.0] * 3), "plain")
    first, second = text.split("\n\n")
    assert "| plain | 10.00 [8.67, 11.33] | 20.00 [17.33, 22.67] |" in first
    assert "| ours | +1.00 [+1.00, +1.00] | +2.00 [+2.00, +2.00] | +10.0 %" in second
    assert "| plain |" not in second


def test_a_percentage_of_nearly_nothing_is_not_given(claim):
    text = claim.report(rows(plain=[-1.0, 0.5, 1.0], ours=[9.0, 11.0, 13.0]), "plain")
    assert text.endswith("| - | - |")


def test_the_interval_of_a_relative_change_holds_it(claim):
    generator = np.random.default_rng(0)
    theirs = 10 + generator.normal(size=50)
    change, low, high = claim.relative_change(theirs + 1 + 0.1 * generator.normal(size=50), theirs)
    assert low < change < high
    assert change == pytest.approx(10, abs=0.5)


def test_only_files_that_all_have_count(claim):
    table = rows(plain=[1.0, 2.0], ours=[3.0, 4.0, 5.0])
    assert {k: v.tolist() for k, v in claim.columns(table, "si_sdr").items()} == {"plain": [1, 2], "ours": [3, 4]}


def test_rows_of_several_files_are_joined_once(claim, tmp_path):
    for name, table in {"a": rows(plain=[1.0], mixture=[0.0]), "b": rows(ours=[2.0], mixture=[0.0])}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"rows": table}))
    joined = claim.merged([tmp_path / "a.json", tmp_path / "b.json"])
    assert [row["system"] for row in joined] == ["plain", "mixture", "ours"]


def test_an_unknown_baseline_is_told(claim):
    with pytest.raises(SystemExit, match="no system is called 'x'; there are: plain"):
        claim.report(rows(plain=[1.0]), "x")
