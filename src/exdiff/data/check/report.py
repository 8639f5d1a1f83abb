"""The report of a check: what the data set holds, what is wrong, and in which files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exdiff.core.errors import DataError
from exdiff.data.check.run import PROBLEMS

_SHOWN = 10  # files listed for each problem


def save_json(result: Mapping[str, Any], file: Path) -> None:
    """Write the result of `check_data` as JSON, under a temporary name first.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise DataError(f"cannot write {str(file)!r}: {error.strerror}") from error


def to_text(result: Mapping[str, Any], shown: int = _SHOWN) -> str:
    """Two tables and the lists of files, in Markdown.

    Args:
        result: of `check_data`.
        shown: files listed for each problem.
    """
    rates = _counts(result["sample_rates"], " Hz")
    channels = _counts({_CHANNELS.get(k, f"{k} channels"): n for k, n in result["channels"].items()})
    lines = [
        "| data | layout | signals | hours | sample rates | channels | encodings |",
        "|---|---|---|---|---|---|---|",
        f"| {result['data']} | {result['layout']} | {result['signals']} | {result['hours']:.2f} | {rates} | {channels} "
        f"| {_counts(result['encodings'])} |",
        "",
    ]
    if not result["problems"]:
        return "\n".join([*lines, "No problems."])
    lines += ["| problem | files | what it means |", "|---|---|---|"]
    lines += [f"| {kind} | {len(faults)} | {PROBLEMS[kind]} |" for kind, faults in result["problems"].items()]
    for kind, faults in result["problems"].items():
        lines += ["", f"{kind}:"]
        lines += [f"- {fault['file']}: {fault['detail']}" for fault in faults[:shown]]
        if len(faults) > shown:
            lines.append(f"- ... and {len(faults) - shown} more; --json FILE lists all")
    return "\n".join([*lines, "", f"{result['faulty']} of {result['signals']} signals have a problem."])


_CHANNELS = {"1": "mono", "2": "stereo"}


def _counts(table: Mapping[str, int], unit: str = "") -> str:
    if len(table) == 1:
        return f"{next(iter(table))}{unit}"
    return ", ".join(f"{key}{unit} ({count})" for key, count in table.items()) or "none"
