"""Comparison: the paper's case studies as one web page that stands alone.

`run` scores and draws, `choose` picks the files, `segments` scores along time, `summary` says in words what the numbers
are, `pictures` are matplotlib's, and `page` with its template `page.html` puts all of it together.
"""

from __future__ import annotations

from exdiff.comparison.run import LONGEST_SECONDS, SHOWN, compare, compare_pairs
from exdiff.comparison.segments import segment_scores

__all__ = ["LONGEST_SECONDS", "SHOWN", "compare", "compare_pairs", "segment_scores"]
