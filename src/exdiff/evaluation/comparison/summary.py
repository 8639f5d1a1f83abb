"""The results in sentences, all of them computed from the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exdiff.evaluation import bootstrap_interval
from exdiff.evaluation.metrics import LOWER_IS_BETTER
from exdiff.evaluation.report import HEADINGS, decimal, excludes_zero
from exdiff.evaluation.statistics import ScoreRow
from exdiff.evaluation.systems import MIXTURE

# Segments by the mixture's SI-SDR in them, in dB: from, to, label.
BINS = ((-np.inf, 0.0, "below 0 dB"), (0.0, 10.0, "0 to 10 dB"), (10.0, np.inf, "above 10 dB"))


def sentences(result: Mapping[str, Any], systems: Sequence[str]) -> list[str]:
    """The summary of a comparison; `systems` are without the mixture, and the first two are compared."""
    parts = [_against_mixture(result, name) for name in systems]
    if len(systems) > 1:
        parts += _duel(result, systems[0], systems[1])
        parts += _where(result["rows"], systems[0], systems[1])
    for name, table in result.get("trust", {}).items():
        parts.append(_trusted(name, table))
    return [part for part in parts if part]


def by_noise(rows: Sequence[ScoreRow], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean SI-SDR of segments, grouped by the mixture's SI-SDR, and the difference of the first two systems.

    Every file counts alike, whatever its number of segments.

    Returns:
        One table per group: `label`, `segments`, `means` (per system) and, with two systems, `mean` and `ci95` of the
        second minus the first, by bootstrap over files.
    """
    curves = {(row["file"], row["system"]): row["segments"] for row in rows if row.get("segments")}
    files = [file for file, name in curves if name == MIXTURE and all((file, other) in curves for other in names)]
    tables = []
    for low, high, label in BINS:
        points: list[np.ndarray] = []
        for file in files:
            stack = np.array([curves[file, name] for name in (MIXTURE, *names)], dtype=np.float64)
            inside = (stack[0] >= low) & (stack[0] < high) & np.isfinite(stack).all(axis=0)
            if inside.any():
                points.append(stack[1:, inside])
        table: dict[str, Any] = {"label": label, "segments": sum(p.shape[1] for p in points)}
        levels = [p.mean(axis=1) for p in points]
        table["means"] = [float(m) for m in np.mean(levels, axis=0)] if levels else [None] * len(names)
        if len(names) > 1:
            leads = [level[1] - level[0] for level in levels]
            table |= {"mean": float(np.mean(leads)) if leads else None, "ci95": bootstrap_interval(leads)}
        tables.append(table)
    return tables


def case_sentence(rows: Sequence[ScoreRow], file: str, systems: Sequence[str]) -> str:
    """A sentence about one file: which system leads, and the segment in which the first two differ most.

    Example:
        >>> values = {"A": [1, 1], "B": [3, 7]}
        >>> rows = [{"file": "a", "system": s, "si_sdr": v[0], "segments": v} for s, v in values.items()]
        >>> case_sentence(rows, "a", ["A", "B"])
        'B leads A by 2.0 dB SI-SDR; most around 0.5 s, by 6.0 dB.'
    """
    mine = {row["system"]: row for row in rows if row["file"] == file}
    if len(systems) < 2 or any(mine.get(name, {}).get("si_sdr") is None for name in systems[:2]):
        return ""
    first, second = (mine[name] for name in systems[:2])
    lead = second["si_sdr"] - first["si_sdr"]
    ahead, behind = (systems[1], systems[0]) if lead >= 0 else (systems[0], systems[1])
    text = f"{ahead} leads {behind} by {abs(lead):.1f} dB SI-SDR"
    gaps = np.array([second["segments"], first["segments"]], dtype=np.float64)
    difference = (gaps[0] - gaps[1]) * (1 if lead >= 0 else -1)
    if not np.isfinite(difference).any():
        return f"{text}."
    most, least = int(np.nanargmax(difference)), int(np.nanargmin(difference))
    text += f"; most around {0.25 * (most + 1):.1f} s, by {difference[most]:.1f} dB"
    if difference[least] < 0:
        text += f", while {behind} is ahead around {0.25 * (least + 1):.1f} s, by {-difference[least]:.1f} dB"
    return f"{text}."


def _against_mixture(result: Mapping[str, Any], name: str) -> str:
    gain = result["paired"].get(f"{name} - {MIXTURE}", {}).get("si_sdr")
    if not gain or gain["mean"] is None:
        return ""
    scores = {(row["file"], row["system"]): row.get("si_sdr") for row in result["rows"]}
    losses = {
        file: scores[file, name] - value
        for (file, system), value in scores.items()
        if system == MIXTURE and value is not None and scores.get((file, name)) is not None
    }
    worse = sorted((file for file in losses if losses[file] < 0), key=losses.__getitem__)
    text = (
        f"{name} against the mixture: SI-SDR {_amount(gain, 'si_sdr')} dB, the mean of {gain['files']} files; lower in"
    )
    if not worse:
        return f"{text} none of them."
    return f"{text} {len(worse)} of them, most in {worse[0]} ({losses[worse[0]]:+.1f} dB)."


def _duel(result: Mapping[str, Any], first: str, second: str) -> list[str]:
    table = result["paired"][f"{second} - {first}"]
    better, worse, open_ = [], [], []
    for score, gain in table.items():
        if gain["ci95"] is None:
            continue
        clear = excludes_zero(gain["ci95"], _form(score))
        signed = -1 if score in LOWER_IS_BETTER else 1
        group = open_ if not clear else better if signed * gain["mean"] > 0 else worse
        group.append(f"{HEADINGS.get(score, (score, 2))[0]} {_amount(gain, score)}")
    parts = []
    for group, word in ((better, "better than"), (worse, "worse than")):
        if group:
            parts.append(f"{second} is {word} {first} in {', '.join(group)}.")
    if open_:
        parts.append(f"No clear difference between {first} and {second} in {', '.join(open_)}.")
    return parts


def _where(rows: Sequence[ScoreRow], first: str, second: str) -> list[str]:
    told = []
    for table in by_noise(rows, [first, second]):
        if table["ci95"] is not None and excludes_zero(table["ci95"], _form("si_sdr")):
            told.append(f"{_amount(table, 'si_sdr')} dB where the mixture has {table['label']}")
    if not told:
        return [f"At no noise level does the SI-SDR of half seconds differ clearly between {first} and {second}."]
    return [f"In half seconds, SI-SDR of {second} minus {first} is {', and '.join(told)}."]


def _trusted(name: str, table: Mapping[str, Any]) -> str:
    sign = table["uncertainty"]
    if sign["rho"] is None:
        return ""
    text = f"{name}: rank correlation of uncertainty and error {sign['rho']:+.2f}"
    if sign["ci95"] is not None:
        low, high = sign["ci95"]
        verdict = "its error is larger where its samples differ" if low > 0 else "its samples do not show where it errs"
        text += f" [{low:+.2f}, {high:+.2f}], so {verdict}"
    return f"{text}; {100 * table['flagged']:.1f} % of {table['seconds']} seconds are flagged."


def _amount(gain: Mapping[str, Any], score: str) -> str:
    form = _form(score)
    if gain["ci95"] is None:
        return decimal(gain["mean"], form)
    low, high = (decimal(value, form) for value in gain["ci95"])
    return f"{decimal(gain['mean'], form)} [{low}, {high}]"


def _form(score: str) -> str:
    return f"+.{HEADINGS.get(score, (score, 2))[1]}f"
