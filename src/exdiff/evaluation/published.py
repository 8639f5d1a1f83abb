"""How the package's own models scored, as `exdiff models` tells it: measured once, kept beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from exdiff.errors import DataError
from exdiff.evaluation.report import HEADINGS, write_whole
from exdiff.evaluation.systems import MIXTURE, parse_model

SCORES = Path(str(resources.files("exdiff"))) / "weights" / "scores.json"


def publish(evaluation: Mapping[str, Any], data: str) -> None:
    """Keep the means of an evaluation; what was kept of the same models and data is replaced.

    Args:
        evaluation: what `evaluate` gave.
        data: its name in lists of models.

    Raises:
        DataError: a model's default settings, or the mixture, are missing.
    """
    means = {
        system: {name: round(scores[name]["mean"], 5) for name in HEADINGS if name in scores}
        for system, scores in evaluation["systems"].items()
    }
    table = _table()
    for model in sorted({parse_model(system)[0] for system in means} - {MIXTURE}):
        systems = {s: means[s] for s in means if parse_model(s)[0] in (model, MIXTURE)}
        for needed in (model, MIXTURE):
            if needed not in systems:
                raise DataError(f"the evaluation lacks the system {needed!r}; it has {', '.join(means)}")
        table.setdefault(model, {})[data] = {"files": evaluation["files"], "systems": systems}
    write_whole(SCORES, json.dumps(dict(sorted(table.items())), indent=1) + "\n")


def score_lines(model: str) -> list[str]:
    """A line for each data set, and below it one for each system; none where nothing was measured.

    Example:
        >>> score_lines("nothing")
        []
    """
    lines = []
    for data, measured in _table().get(model, {}).items():
        lines.append(f"{data}, means of {measured['files']} files (ratios in dB)")
        for system, scores in measured["systems"].items():
            lines.append(f"  {system}: " + ", ".join(_told(name, value) for name, value in scores.items()))
    return lines


def score_note(model: str) -> str:
    """The same in a few words: SI-SDR of the defaults on the first data set; empty where nothing was measured."""
    for data, measured in _table().get(model, {}).items():
        ours, mixture = (measured["systems"][system]["si_sdr"] for system in (model, MIXTURE))
        return f"SI-SDR {ours:.1f} dB on {data} (mixture {mixture:.1f})"
    return ""


def _told(name: str, value: float) -> str:
    heading, digits = HEADINGS[name]
    return f"{heading.removesuffix(' (dB)')} {value:.{digits}f}"


def _table() -> dict[str, Any]:
    return json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
