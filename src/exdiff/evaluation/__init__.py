"""Evaluation: systems x files x metrics, with intervals and paired differences, as one table of plain values.

`pairs` finds the data, `systems` names what is compared, `run` does the work, `journal` makes it resumable, `trust`
asks a diffusion model how sure it is, `statistics` sums it up and `report` prints and saves it;
`published` keeps what the package's own models scored. A metric itself is in
`exdiff.metrics`.
"""

from __future__ import annotations

from exdiff.evaluation.pairs import Pair, PairFiles, find_pairs
from exdiff.evaluation.report import save_csv, save_json, to_markdown, write_whole
from exdiff.evaluation.run import DEFAULT_METRICS, evaluate, evaluate_pairs
from exdiff.evaluation.statistics import bootstrap_interval, summarise
from exdiff.evaluation.systems import EstimateFolder, load_enhancer, parse_model

__all__ = [
    "DEFAULT_METRICS",
    "EstimateFolder",
    "Pair",
    "PairFiles",
    "bootstrap_interval",
    "evaluate",
    "evaluate_pairs",
    "find_pairs",
    "load_enhancer",
    "parse_model",
    "save_csv",
    "save_json",
    "summarise",
    "to_markdown",
    "write_whole",
]
