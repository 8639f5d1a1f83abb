"""Does a diffusion model's uncertainty predict its error? Their rank correlation. Prints Markdown.

    python benchmarks/trust.py DATA --model speech --samples 8 [--limit 12] [--json FILE]

DATA is a folder of pairs, as for `exdiff evaluate`. For every second of every file, two uncertainties are compared with
the error of the estimate that `exdiff enhance` gives: the spread of K samples, and the difference between the diffusion
model's and the extractor's estimate. The control is how much was removed, which needs no samples. The median error in
each quarter of the seconds, from the most to the least certain, shows what the correlation is worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.core.errors import ExDiffError
from exdiff.evaluation import evaluate, save_json
from exdiff.evaluation.report import trust_tables


def quarters(tables: list[dict[str, Any]]) -> str:
    """Median error in dB of each quarter of the seconds, by increasing uncertainty, as a row of Markdown."""
    uncertainty, error = (np.concatenate([table[key] for table in tables]) for key in ("uncertainty", "error"))
    parts = np.array_split(error[np.argsort(uncertainty, kind="stable")], 4)
    return " | ".join(f"{np.median(part):+.1f} dB" for part in parts)


def main() -> None:
    """Sample, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", help="as for exdiff evaluate; may be repeated")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--limit", type=int, help="only so many files, chosen by a fixed seed")
    parser.add_argument("--json", type=Path, help="also write everything here; continues from FILE.jsonl")
    options = parser.parse_args()
    journal = options.json.with_name(f"{options.json.name}.jsonl") if options.json else None
    models = options.model or ["speech"]
    try:
        result = evaluate(
            options.data, models, (), ("si_sdr",), options.limit, samples=options.samples, journal=journal
        )
    except ExDiffError as error:
        parser.error(str(error))
    print("\n\n".join(trust_tables(result["trust"])))
    print("\n| median error by quarter of uncertainty | most certain | | | least certain |\n|---|---|---|---|---|")
    for name in result["trust"]:
        tables = [row["trust"] for row in result["rows"] if row["system"] == name and "trust" in row]
        print(f"| {name} ({tables[0]['sampler']}, {tables[0]['steps']} steps) | {quarters(tables)} |")
    if options.json and journal:
        save_json(result, options.json)
        journal.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
