"""The result of an evaluation as JSON and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Heading and decimals; a score that is not listed keeps its own name and two decimals.
HEADINGS: dict[str, tuple[str, int]] = {
    "si_sdr": ("SI-SDR (dB)", 2),
    "si_sir": ("SI-SIR (dB)", 2),
    "si_sar": ("SI-SAR (dB)", 2),
    "sdr": ("SDR (dB)", 2),
    "pesq": ("PESQ", 2),
    "pesq_nb": ("PESQ-NB", 2),
    "estoi": ("ESTOI", 3),
    "dnsmos_ovrl": ("OVRL", 2),
    "dnsmos_sig": ("SIG", 2),
    "dnsmos_bak": ("BAK", 2),
    "log_wmse": ("logWMSE", 2),
    "wer": ("WER ↓", 3),
    "speaker": ("speaker", 3),
}


def save_json(result: Mapping[str, Any], path: Path) -> None:
    """Write `result` as strict JSON (undefined scores are null), making the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def to_markdown(result: Mapping[str, Any]) -> str:
    """Tables of means with their 95 % intervals and of paired differences, then notes on what is missing.

    Example:
        >>> score = {"mean": 2.0, "ci95": [1.5, 2.5], "median": 2.0, "nan": 0}
        >>> system = {"pesq": score, "rtf": None, "errors": 0}
        >>> print(to_markdown({"data": "d", "files": 3, "systems": {"mixture": system}, "paired": {}}))
        | system | PESQ | RTF |
        |---|---|---|
        | mixture | 2.00 [1.50, 2.50] |  |
        <BLANKLINE>
        Means over the 3 files of `d` [95 % bootstrap interval]; RTF is seconds of work per second of audio.
    """
    systems = result["systems"]
    scores = [key for key in next(iter(systems.values())) if key not in ("rtf", "errors")]
    rows = [[name, *(_cell(table[s], s) for s in scores), _rtf(table["rtf"])] for name, table in systems.items()]
    head = [HEADINGS.get(score, (score, 2))[0] for score in scores]
    parts = [
        _table(["system", *head, "RTF"], rows),
        f"Means over the {result['files']} files of `{result['data']}` [95 % bootstrap interval]; "
        "RTF is seconds of work per second of audio.",
    ]
    if result["paired"]:
        gains = [[name, *(_cell(table[s], s, "+") for s in scores)] for name, table in result["paired"].items()]
        parts += [_table(["paired difference", *head], gains), "\\* the interval leaves out zero."]
    notes = [note for name, table in systems.items() for note in _notes(name, table, scores)]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    drawn = ["| " + " | ".join(line) + " |" for line in lines]
    drawn[1] = drawn[1].replace(" ", "")
    return "\n".join(drawn)


def _cell(score: Mapping[str, Any], name: str, sign: str = "") -> str:
    if score["mean"] is None:
        return "n/a"
    form = f"{sign}.{HEADINGS.get(name, (name, 2))[1]}f"
    text = format(score["mean"], form)
    if score["ci95"] is None:
        return text
    low, high = score["ci95"]
    star = "*" if sign and (low > 0 or high < 0) else ""
    return f"{text} [{low:{form}}, {high:{form}}]{star}"


def _rtf(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _notes(name: str, table: Mapping[str, Any], scores: list[str]) -> list[str]:
    notes = [f"- {name}: {table['errors']} files failed, see the rows with `error`."] if table["errors"] else []
    undefined = [f"{score} for {table[score]['nan']} files" for score in scores if table[score]["nan"]]
    return notes + ([f"- {name}: undefined and left out: {', '.join(undefined)}."] if undefined else [])
