"""Put measured scores into the package, where `exdiff models` shows them.

    exdiff evaluate valid/speech --model speech@steps=0 --model speech --json scores.json
    python scripts/scores.py scores.json valid/speech

Replaces what the package held for the same models and data. The second argument names the data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exdiff.core.errors import DataError
from exdiff.evaluation import parse_model, published, write_whole
from exdiff.evaluation.report import HEADINGS
from exdiff.evaluation.systems import MIXTURE


def publish(evaluation: Mapping[str, Any], data: str) -> None:
    """Keep the means of an evaluation, in place of those of the same models and data.

    Args:
        evaluation: the result of `exdiff.evaluation.evaluate`.
        data: its name in lists of models.

    Raises:
        DataError: the model with its default settings, or the mixture, is missing.
    """
    means = {
        system: {name: round(scores[name]["mean"], 5) for name in HEADINGS if name in scores}
        for system, scores in evaluation["systems"].items()
    }
    table = published.read_scores()
    for model in sorted({parse_model(system)[0] for system in means} - {MIXTURE}):
        systems = {s: means[s] for s in means if parse_model(s)[0] in (model, MIXTURE)}
        for needed in (model, MIXTURE):
            if needed not in systems:
                raise DataError(f"the evaluation lacks the system {needed!r}; it has {', '.join(means)}")
        table.setdefault(model, {})[data] = {"files": evaluation["files"], "systems": systems}
    write_whole(published.SCORES, json.dumps(dict(sorted(table.items())), indent=1) + "\n")


def main() -> None:
    """Read an evaluation and keep its means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="JSON of `exdiff evaluate`")
    parser.add_argument("data", help="name of the data in lists of models")
    options = parser.parse_args()
    publish(json.loads(options.evaluation.read_text(encoding="utf-8")), options.data)


if __name__ == "__main__":
    main()
