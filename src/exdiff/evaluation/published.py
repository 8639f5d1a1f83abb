"""How the package's own models scored, as `exdiff models` shows it: measured once, kept beside the weights.

`scripts/scores.py` writes what is read here.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from exdiff.evaluation.report import HEADINGS
from exdiff.evaluation.systems import MIXTURE

SCORES = Path(str(resources.files("exdiff.checkpoints"))) / "weights" / "scores.json"


def score_lines(model: str) -> list[str]:
    """A line for each data set, and below it one for each system; none where nothing was measured.

    Example:
        >>> score_lines("nothing")
        []
    """
    lines = []
    for data, measured in read_scores().get(model, {}).items():
        lines.append(f"validation set {data}, means of {measured['files']} files (ratios in dB)")
        for system, scores in measured["systems"].items():
            lines.append(f"  {system}: " + ", ".join(_score_text(name, value) for name, value in scores.items()))
    return lines


def score_note(model: str) -> str:
    """The same in a few words: SI-SDR of the defaults on the first data set, a validation set; empty without one."""
    for measured in read_scores().get(model, {}).values():
        ours, mixture = (measured["systems"][system]["si_sdr"] for system in (model, MIXTURE))
        return f"SI-SDR {ours:.1f} dB, the mean of {measured['files']} validation files (mixtures: {mixture:.1f} dB)"
    return ""


def _score_text(name: str, value: float) -> str:
    heading, digits = HEADINGS[name]
    return f"{heading.removesuffix(' (dB)')} {value:.{digits}f}"


def read_scores() -> dict[str, Any]:
    """Model -> data -> `files` and `systems`, whose values are means by score; empty where nothing was kept."""
    return json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
