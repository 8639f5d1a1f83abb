"""Put measured scores into the package, where `exdiff models` shows them.

    exdiff evaluate valid/speech --model speech@steps=0 --model speech --json scores.json
    python scripts/scores.py scores.json valid/speech

What the package held of the same models and data is replaced. The data is called by the name that is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from exdiff.evaluation.published import publish


def main() -> None:
    """Read an evaluation and keep its means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path, help="JSON of `exdiff evaluate`")
    parser.add_argument("data", help="name of the data in lists of models")
    options = parser.parse_args()
    publish(json.loads(options.evaluation.read_text(encoding="utf-8")), options.data)


if __name__ == "__main__":
    main()
