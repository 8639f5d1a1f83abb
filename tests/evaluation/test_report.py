"""Tables: what a reader must be able to see in them."""

from __future__ import annotations

import math

import pytest

from exdiff.evaluation import save_json, to_markdown
from exdiff.evaluation.statistics import paired, summarise


def score(mean, ci95, nan=0):
    return {"mean": mean, "ci95": ci95, "median": mean, "nan": nan}


RESULT = {
    "data": "d",
    "files": 9,
    "systems": {
        "A": {"si_sdr": score(8.0, [7.126, 9.0]), "estoi": score(0.61234, [0.6, 0.62]), "rtf": 0.03456, "errors": 0},
        "mixture": {"si_sdr": score(5.0, None), "estoi": score(None, None, 9), "rtf": None, "errors": 1},
    },
    "paired": {
        "A - mixture": {
            "si_sdr": {"mean": 3.0, "ci95": [2.0, 4.0], "files": 9},
            "estoi": {"mean": -0.01, "ci95": [-0.02, 0.001], "files": 9},
        }
    },
    "rows": [],
}


def test_tables_by_hand():
    lines = to_markdown(RESULT).splitlines()
    assert lines[:4] == [
        "| system | SI-SDR (dB) | ESTOI | RTF |",
        "|---|---|---|---|",
        "| A | 8.00 [7.13, 9.00] | 0.612 [0.600, 0.620] | 0.0346 |",
        "| mixture | 5.00 | n/a |  |",
    ]
    assert "| A - mixture | +3.00 [+2.00, +4.00]* | -0.010 [-0.020, +0.001] |" in lines
    assert lines[-2:] == [
        "- mixture: failed files: 1, see `error` in the rows.",
        "- mixture: undefined and left out: estoi for 9 files.",
    ]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ([0.001, 0.3], "+0.10 [+0.00, +0.30]"),
        ([-0.3, -0.001], "+0.10 [-0.30, +0.00]"),
        ([0.01, 0.3], "+0.10 [+0.01, +0.30]*"),
    ],
)
def test_a_star_means_what_is_written(interval, expected):
    gain = {"mean": 0.1, "ci95": interval, "files": 9}
    systems = {"A": {"si_sdr": score(1.0, [0.0, 2.0]), "rtf": None, "errors": 0}}
    lines = to_markdown(RESULT | {"systems": systems, "paired": {"A - B": {"si_sdr": gain}}}).splitlines()
    assert f"| A - B | {expected} |" in lines


@pytest.mark.parametrize("files", [2, 5, 6])
def test_a_few_files_have_no_intervals(files):
    rows = [
        {"file": str(i), "system": s, "seconds": 1.0, "rtf": None, "si_sdr": i + g}
        for i in range(files)
        for s, g in (("A", 0.001), ("B", 0.0))
    ]
    tables = {"systems": summarise(rows, ["A", "B"]), "paired": paired(rows, ["A", "B"], "B")}
    text = to_markdown({"data": "d", "files": files} | tables)
    assert ("too few files for intervals, which need 6" in text) is (files < 6)
    assert ("[+0.00, +0.00]" in text) is (files == 6)
    assert "]*" not in text


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_json({"x": math.nan}, tmp_path / "x.json")
