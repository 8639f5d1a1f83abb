"""Tables: what a reader must be able to see in them."""

from __future__ import annotations

import math

import pytest

from exdiff.evaluation import save_json, to_markdown


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


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_json({"x": math.nan}, tmp_path / "x.json")
