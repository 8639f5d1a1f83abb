"""Score exdiff's models beside the rivals' results on the same data, and write the table of docs/benchmarks.md.

    python benchmarks/rivals/table.py DATA OUT [--model NAME ...] [--write docs/benchmarks.md]

OUT is the folder that rivals.py made from DATA; a rival with missing files is left out, with a message. Models are
timed like the rivals: the median over the first three files, one thread, without the first call. Scores are stored in
OUT/table.jsonl, so an interrupted run continues from there, and repeating a finished run takes seconds. Delete that
file after changing the data, the models or the rivals' results. Prints Markdown, or inserts it between two comments of
the page.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

BEGIN, END = "<!-- table of rivals: begin -->", "<!-- table of rivals: end -->"
METRICS = ("si_sdr", "pesq", "estoi", "dnsmos")
SCORES = {  # heading and decimals
    "si_sdr": ("SI-SDR dB", 2),
    "si_sir": ("SI-SIR dB", 2),
    "si_sar": ("SI-SAR dB", 2),
    "pesq": ("PESQ", 2),
    "estoi": ("ESTOI", 3),
    "dnsmos_ovrl": ("OVRL", 2),
}
PAIRED = ("si_sdr", "pesq", "estoi", "dnsmos_ovrl")
MIXTURE = "mixture"
TIMED = 3
Facts = Mapping[str, Any]


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Example:
        >>> print(grid(["a"], [["1"]]))
        | a |
        |---|
        | 1 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def number(value: float | None, decimals: int, sign: str = "") -> str:
    """A rounded number; empty for None."""
    return "" if value is None else f"{value:{sign}.{decimals}f}"


def count(facts: Facts) -> str:
    """The number of parameters, human-readable.

    Example:
        >>> count({"parameters": 48213}), count({"parameters": 2_100_000, "parameters_are": "stated"})
        ('48 k', '2.1 M (stated)')
    """
    value = facts.get("parameters")
    if not value:
        return "" if value is None else "none"
    text = f"{value / 1e6:.1f} M" if value >= 1e5 else f"{value / 1e3:.0f} k"
    return text + (" (stated)" if facts.get("parameters_are") == "stated" else "")


def ranked(result: Mapping[str, Any]) -> list[str]:
    """Names of the systems, best SI-SDR first."""
    means = {name: table["si_sdr"]["mean"] for name, table in result["systems"].items()}
    return sorted(means, key=lambda name: math.inf if means[name] is None else -means[name])


def scores(result: Mapping[str, Any], facts: Mapping[str, Facts]) -> str:
    """Mean scores of every system, and the facts about it."""
    head = ["system", *(heading for heading, _ in SCORES.values())]
    head += ["package", "licence", "rate, Hz", "parameters", "RTF"]
    rows = []
    for name in ranked(result):
        table, about = result["systems"][name], facts.get(name, {})
        row = [name, *(number(table.get(key, {}).get("mean"), digits) for key, (_, digits) in SCORES.items())]
        row += [f"{about.get('package', '')} {about.get('version', '')}".strip(), about.get("licence", "")]
        rows.append([*row, str(about.get("rate", "")), count(about), number(about.get("rtf"), 4)])
    return grid(head, rows)


def differences(result: Mapping[str, Any], model: str) -> str:
    """Every other system minus the model, file by file, with intervals."""
    rows = []
    for name in ranked(result):
        table = result["paired"].get(f"{name} - {model}")
        if table is not None:
            rows.append([name, *(difference(table[key], SCORES[key][1]) for key in PAIRED)])
    return grid([f"minus `{model}`", *(SCORES[key][0] for key in PAIRED)], rows)


def difference(value: Mapping[str, Any], decimals: int) -> str:
    r"""Mean and interval, with a star if the interval excludes zero.

    Example:
        >>> difference({"mean": -1.0, "ci95": [-1.5, -0.5]}, 1)
        '-1.0 [-1.5, -0.5] \\*'
    """
    if value["ci95"] is None:
        return number(value["mean"], decimals, "+")
    low, high = value["ci95"]
    star = " \\*" if low > 0 or high < 0 else ""
    return f"{value['mean']:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]{star}"


def kind(file: str) -> str | None:
    """The kind of interference, if the name of the file has it.

    Example:
        >>> kind("003_noise_+10dB"), kind("p232_001")
        ('noise', None)
    """
    found = re.search(r"_([a-z]+)_[+-]?\d+dB$", file)
    return found[1] if found else None


def by_kind(result: Mapping[str, Any]) -> str:
    """Mean SI-SDR for each kind of interference; empty if the names of the files have none."""
    kinds = list(dict.fromkeys(k for row in result["rows"] if (k := kind(row["file"]))))
    if not kinds:
        return ""
    rows = []
    for name in ranked(result):
        mine = [row for row in result["rows"] if row["system"] == name and row.get("si_sdr") is not None]
        values = [[row["si_sdr"] for row in mine if kind(row["file"]) == k] for k in kinds]
        rows.append([name, *(number(fmean(v) if v else None, 2) for v in values)])
    return grid(["SI-SDR dB in", *kinds], rows)


def report(result: Mapping[str, Any], facts: Mapping[str, Facts], model: str) -> str:
    """The tables with their captions."""
    failed = {name: table["errors"] for name, table in result["systems"].items() if table["errors"]}
    parts = [
        scores(result, facts),
        f"Means over {result['files']} files. RTF: seconds of processing per second of audio, one thread.",
        differences(result, model),
        "Means of the differences file by file [95 % bootstrap interval]; \\* the interval excludes zero.",
        by_kind(result),
        *(f"{name}: {many} files failed." for name, many in failed.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def inserted(page: str, table: str) -> str:
    """The page with the table between the two comments.

    Raises:
        ValueError: the page lacks one of them, or they are in the wrong order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def finished(out: Path, names: Sequence[str]) -> dict[str, Facts]:
    """The rivals whose results are complete: name -> contents of OUT/NAME.json."""
    found = {}
    for path in sorted(out.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        missing = sum(not (out / path.stem / f"{name}.wav").exists() for name in names)
        if missing:
            print(f"{path.stem} is left out: {missing} of {len(names)} files are missing", file=sys.stderr)
        else:
            found[path.stem] = facts
    return found


def model_facts(text: str, data: Path) -> Facts:
    """Facts about one of our models, and its speed with one thread."""
    from exdiff import __version__
    from exdiff.checkpoints.checkpoint import load_model
    from exdiff.evaluation import find_pairs, load_enhancer, parse_model
    from exdiff.model.nn.cost import parameters

    name, options = parse_model(text)
    model, recipe = load_model(name)
    used = model.extractor if options.get("steps") == 0 else model
    enhance, factors = load_enhancer(text), []
    for pair in (item.load() for item in find_pairs(data)[:TIMED]):
        begin = time.perf_counter()
        enhance(pair.mixture, pair.sample_rate)
        factors.append((time.perf_counter() - begin) * pair.sample_rate / pair.mixture.shape[-1])
    facts = {"package": "exdiff", "version": __version__, "licence": recipe.licence, "rate": recipe.sample_rate}
    return facts | {"parameters": parameters(used), "parameters_are": "counted", "rtf": median(factors)}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", nargs="+", default=["speech", "speech@steps=0"])
    parser.add_argument("--workers", type=int, default=1, help="processes that compute scores")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    return parser.parse_args()


def main() -> None:
    """Time, score, print or write."""
    import torch

    from exdiff.evaluation import evaluate, find_pairs, write_whole

    options = arguments()
    if options.write:
        inserted(options.write.read_text(encoding="utf-8"), "")  # fail early if the page lacks the comments
    torch.set_num_threads(1)
    rivals = finished(options.out, [pair.name for pair in find_pairs(options.data)])
    facts = {text: model_facts(text, options.data) for text in options.model} | rivals
    folders, journal = [options.out / name for name in rivals], options.out / "table.jsonl"
    result = evaluate(options.data, options.model, folders, METRICS, workers=options.workers, journal=journal)
    text = report(result, facts, options.model[0])
    if options.write:
        write_whole(options.write, inserted(options.write.read_text(encoding="utf-8"), text))
    else:
        print(text)


if __name__ == "__main__":
    from exdiff.core.errors import ExDiffError

    try:
        main()
    except (ExDiffError, ValueError, OSError) as error:
        print(f"table.py: {error}", file=sys.stderr)
        sys.exit(2)
