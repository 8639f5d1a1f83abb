"""The result of an evaluation as JSON, as CSV and as Markdown tables; files appear whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exdiff.core.errors import ConfigError
from exdiff.evaluation.statistics import FEWEST, ScoreRow, columns

# Heading and number of decimals; a score that is not listed keeps its name and gets two decimals.
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


_SIGNS = {
    "uncertainty": "uncertainty",
    "disagreement": "disagreement",
    "removed": "removed",
    "beyond_removed": "uncertainty − removed",
}


def save_json(result: Mapping[str, Any], path: Path) -> None:
    """Write `result` as strict JSON (undefined scores are null); missing folders are created."""
    write_whole(path, json.dumps(result, indent=2, allow_nan=False) + "\n")


def save_csv(result: Mapping[str, Any], path: Path) -> None:
    """Write the rows, one per file and system, as CSV. Undefined scores are empty; lists are only in the JSON."""
    write_whole(path, to_csv(result["rows"]))


def to_csv(rows: Sequence[ScoreRow]) -> str:
    """The rows as CSV with a heading.

    Example:
        >>> print(to_csv([{"file": "a,b", "system": "speech", "seconds": 2.0, "rtf": None, "pesq": 1.5}]), end="")
        file,system,seconds,rtf,pesq,error
        "a,b",speech,2.0,,1.5,
    """
    text = io.StringIO()
    fields = ["file", "system", "seconds", "rtf", *columns(rows), "error"]
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write to a temporary file beside `path`, then rename it.

    Raises:
        ConfigError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None


def to_markdown(result: Mapping[str, Any]) -> str:
    """Tables of means with 95 % intervals, of medians and of paired differences, then notes on missing scores.

    Example:
        >>> score = {"mean": 2.0, "ci95": [1.5, 2.5], "median": 1.75, "nan": 0}
        >>> system = {"pesq": score, "rtf": None, "errors": 0}
        >>> print(to_markdown({"data": "d", "files": 9, "systems": {"mixture": system}, "paired": {}}))
        | system | PESQ | RTF |
        |---|---|---|
        | mixture | 2.00 [1.50, 2.50] |  |
        <BLANKLINE>
        Means over the 9 files of `d` [95 % bootstrap interval]; RTF is seconds of processing per second of audio.
        <BLANKLINE>
        | median | PESQ |
        |---|---|
        | mixture | 1.75 |
    """
    systems = result["systems"]
    scores = [key for key in next(iter(systems.values())) if key not in ("rtf", "errors")]
    rows = [[name, *(_cell(table[s], s) for s in scores), _rtf(table["rtf"])] for name, table in systems.items()]
    head = [HEADINGS.get(score, (score, 2))[0] for score in scores]
    medians = [[name, *(_number(table[s]["median"], s) for s in scores)] for name, table in systems.items()]
    many = result["files"] >= FEWEST
    interval = " [95 % bootstrap interval]" if many else f" (too few files for intervals, which need {FEWEST})"
    parts = [
        _table(["system", *head, "RTF"], rows),
        f"Means over the {result['files']} files of `{result['data']}`{interval}; "
        "RTF is seconds of processing per second of audio.",
        _table(["median", *head], medians),
    ]
    if result["paired"]:
        gains = [[name, *(_cell(table[s], s, "+") for s in scores)] for name, table in result["paired"].items()]
        parts += [_table(["paired difference", *head], gains), *(["\\* the interval excludes zero."] if many else [])]
    if result.get("trust"):
        parts += trust_tables(result["trust"])
    notes = [note for name, table in systems.items() for note in _notes(name, table, scores)]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def trust_tables(trust: Mapping[str, Any]) -> list[str]:
    """What predicts the error in each second, as a table and a sentence that explains it.

    Example:
        >>> sign = {"rho": 0.8, "ci95": [0.7, 0.9]}
        >>> table = {"seconds": 40, "flagged": 0.1} | dict.fromkeys(_SIGNS, sign)
        >>> trust_tables({"speech": table})[0].splitlines()[-1][:52]
        '| speech | 40 | 10.0 % | +0.80 [+0.70, +0.90] | +0.8'
    """
    rows = []
    for name, table in trust.items():
        signs = [{"mean": table[key]["rho"], "ci95": table[key]["ci95"]} for key in _SIGNS]
        flagged = "" if table["flagged"] is None else f"{100 * table['flagged']:.1f} %"
        rows.append([name, str(table["seconds"]), flagged, *(_cell(sign, "", "+").rstrip("*") for sign in signs)])
    return [
        _table(["rank correlation with the error", "seconds", "flagged", *_SIGNS.values()], rows),
        "Spearman's rho over seconds [95 % bootstrap interval over files]: spread of the samples; difference from the "
        "extractor's estimate; as a control, how much was removed; and how much better the spread is than the control.",
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    drawn = ["| " + " | ".join(line) + " |" for line in lines]
    drawn[1] = drawn[1].replace(" ", "")
    return "\n".join(drawn)


def decimal(value: float, form: str) -> str:
    """`value` in the format `form`, without the minus sign of a zero that was rounded.

    Example:
        >>> decimal(-0.001, ".2f"), decimal(-0.001, "+.2f"), decimal(-0.01, ".2f")
        ('0.00', '+0.00', '-0.01')
    """
    text = format(value, form)
    return text.replace("-", "+" if form.startswith("+") else "") if float(text) == 0 else text


def excludes_zero(interval: Sequence[float], form: str) -> bool:
    """Whether both ends, as they are written, are on one side of zero.

    Example:
        >>> excludes_zero([0.001, 0.5], "+.2f"), excludes_zero([0.01, 0.5], "+.2f")
        (False, True)
    """
    low, high = (float(format(value, form)) for value in interval)
    return low > 0 or high < 0


def _number(value: float | None, name: str) -> str:
    return "n/a" if value is None else decimal(value, f".{HEADINGS.get(name, (name, 2))[1]}f")


def _cell(score: Mapping[str, Any], name: str, sign: str = "") -> str:
    if score["mean"] is None:
        return "n/a"
    form = f"{sign}.{HEADINGS.get(name, (name, 2))[1]}f"
    text = decimal(score["mean"], form)
    if score["ci95"] is None:
        return text
    low, high = score["ci95"]
    star = "*" if sign and excludes_zero(score["ci95"], form) else ""
    return f"{text} [{decimal(low, form)}, {decimal(high, form)}]{star}"


def _rtf(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _notes(name: str, table: Mapping[str, Any], scores: list[str]) -> list[str]:
    notes = [f"- {name}: failed files: {table['errors']}, see `error` in the rows."] if table["errors"] else []
    undefined = [f"{score} for {table[score]['nan']} files" for score in scores if table[score]["nan"]]
    return notes + ([f"- {name}: undefined and left out: {', '.join(undefined)}."] if undefined else [])
