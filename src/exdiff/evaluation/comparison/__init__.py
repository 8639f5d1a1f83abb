"""Comparison: the paper's case studies as one self-contained web page.

`run` scores and draws, `choose` picks the files, `segments` scores along time, `summary` puts the numbers into words,
`pictures` draws with matplotlib, and `page` assembles the page from the template `page.html`.
"""

from __future__ import annotations

from exdiff.evaluation.comparison.run import LONGEST_SECONDS, SHOWN, compare, compare_pairs
from exdiff.evaluation.comparison.segments import segment_scores

__all__ = ["LONGEST_SECONDS", "SHOWN", "compare", "compare_pairs", "segment_scores"]
