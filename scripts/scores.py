"""Put measured scores into the package, where `exdiff models` shows them.

    exdiff evaluate valid/speech --model speech@steps=0 --model speech --json scores.json
    python scripts/scores.py scores.json valid/speech

What the package held of the same models and data is replaced. The data is called by the name that is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from exdiff.catalogue import SCORES

METRICS = ("si_sdr", "si_sir", "si_sar", "sdr", "pesq", "estoi", "dnsmos_ovrl")


def main() -> None:
    """Read an evaluation, take the means, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="JSON of `exdiff evaluate`")
    parser.add_argument("data", help="name of the data in lists of models")
    options = parser.parse_args()
    evaluation = json.loads(options.evaluation.read_text(encoding="utf-8"))
    means = {
        system: {m: round(scores[m]["mean"], 3) for m in METRICS if m in scores}
        for system, scores in evaluation["systems"].items()
    }
    table = json.loads(SCORES.read_text(encoding="utf-8")) if SCORES.is_file() else {}
    for model in {system.partition("@")[0] for system in means} - {"mixture"}:
        systems = {s: means[s] for s in means if s == "mixture" or s.partition("@")[0] == model}
        table.setdefault(model, {})[options.data] = {"files": evaluation["files"], "systems": systems}
    SCORES.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
