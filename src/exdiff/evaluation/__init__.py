"""Evaluation: systems x files x metrics, with intervals and paired differences, as one table of plain values.

`pairs` finds the data, `systems` loads what is compared, `run` does the work, `workers` computes the scores, `journal`
makes a run resumable, `trust` estimates the uncertainty of a diffusion model, `statistics` summarises, `report` prints
and saves; `published` reads the scores of the package's own models. The metrics are in `exdiff.evaluation.metrics`.
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
