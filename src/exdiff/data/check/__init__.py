"""`exdiff data check`: find what is wrong with a data set before anyone trains on it.

`groups` finds the signals and which of them belong together, `measure` measures one signal in bounded memory,
`correlation` compares a mixture with its parts, `run` applies both to all signals, `report` writes the result.
"""

from __future__ import annotations

from exdiff.data.check.report import save_json, to_text
from exdiff.data.check.run import check_data

__all__ = ["check_data", "save_json", "to_text"]
