"""The paper's claim as a table: what latents and estimate add to a diffusion model, relative to one without them.

    exdiff evaluate DATA --model neither --model both ... --json scores.json
    python benchmarks/claim.py scores.json [MORE.json ...] --baseline neither

Prints Markdown: the means of all scores with 95 % intervals, then for each system the mean difference to the baseline
over files and the relative change of its mean SI-SDR and SI-SIR (in the paper: +3.7 % and +10.0 %). Intervals are
bootstrapped over files. Where the baseline's mean is near or below zero, a percentage would be meaningless: a dash.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.evaluation import bootstrap_interval

SCORES = {
    "si_sdr": ("SI-SDR dB", 2),
    "si_sir": ("SI-SIR dB", 2),
    "si_sar": ("SI-SAR dB", 2),
    "sdr": ("SDR dB", 2),
    "pesq": ("PESQ", 3),
    "estoi": ("ESTOI", 3),
    "dnsmos_ovrl": ("OVRL", 3),
}
RELATIVE = ("si_sdr", "si_sir")
LEAST_DB = 1.0  # a baseline below this gets no percentages
RESAMPLES = 10000


def columns(rows: Sequence[dict[str, Any]], score: str) -> dict[str, np.ndarray]:
    """For each system, its scores on the files that all systems have, in the same order."""
    table: dict[str, dict[str, float]] = {}
    for row in rows:
        value = row.get(score)
        table.setdefault(row["system"], {})[row["file"]] = float("nan") if value is None else float(value)
    shared = sorted(set.intersection(*map(set, table.values())))
    whole = [file for file in shared if not any(np.isnan(files[file]) for files in table.values())]
    return {system: np.array([files[file] for file in whole]) for system, files in table.items()}


def relative_change(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float] | None:
    """Per cent by which the mean of `ours` exceeds that of `theirs`, with its 95 % interval; None near zero."""
    draws = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    means = theirs[draws].mean(1)
    if theirs.mean() < LEAST_DB or np.quantile(means, 0.025) <= 0:
        return None
    low, high = np.quantile(100 * (ours[draws].mean(1) / means - 1), [0.025, 0.975])
    return 100 * (ours.mean() / theirs.mean() - 1), low, high


def interval(values: np.ndarray, digits: int, sign: str = "") -> str:
    """Mean [low, high]."""
    ends = bootstrap_interval(values)
    mean = f"{values.mean():{sign}.{digits}f}"
    return mean if ends is None else f"{mean} [{ends[0]:{sign}.{digits}f}, {ends[1]:{sign}.{digits}f}]"


def line(cells: Sequence[str]) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def merged(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of several files, those of a system that is in two of them (the mixture) once."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for path in paths:
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            table.setdefault((row["system"], row["file"]), row)
    return list(table.values())


def report(rows: Sequence[dict[str, Any]], baseline: str) -> str:
    """Both tables.

    Raises:
        SystemExit: the baseline is not among the systems.
    """
    rows = [row for row in rows if "error" not in row]
    scores = {name: columns(rows, name) for name in SCORES if any(name in row for row in rows)}
    systems = list(dict.fromkeys(row["system"] for row in rows))
    if baseline not in systems:
        raise SystemExit(f"no system is called {baseline!r}; there are: {', '.join(systems)}")
    heads = [SCORES[name][0] for name in scores]
    lines = [line(["system", *heads]), line(["---"] * (len(heads) + 1))]
    for system in systems:
        lines.append(line([system, *(interval(table[system], SCORES[name][1]) for name, table in scores.items())]))
    relative = [f"{SCORES[name][0].removesuffix(' dB')}, relative" for name in RELATIVE]
    lines += ["", line([f"minus {baseline}", *heads, *relative]), line(["---"] * (len(heads) + len(relative) + 1))]
    for system in systems:
        if system in (baseline, "mixture"):
            continue
        cells = [interval(table[system] - table[baseline], SCORES[name][1], "+") for name, table in scores.items()]
        for name in RELATIVE:
            change = relative_change(scores[name][system], scores[name][baseline]) if name in scores else None
            cells.append("-" if change is None else "{:+.1f} % [{:+.1f}, {:+.1f}]".format(*change))
        lines.append(line([system, *cells]))
    return "\n".join(lines)


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, nargs="+", help="what `exdiff evaluate --json` wrote, of the same data")
    parser.add_argument("--baseline", required=True, help="name of the system without latents")
    options = parser.parse_args()
    print(report(merged(options.scores), options.baseline))


if __name__ == "__main__":
    main()
