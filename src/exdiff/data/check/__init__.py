"""`exdiff data check`: what is wrong with a data set, found before anyone trains on it.

`groups` says which signals there are and which belong together, `measure` listens to one of them in bounded memory,
`kinship` compares a mixture with its parts, `run` does so for all and judges, `report` puts it into words.
"""

from __future__ import annotations

from exdiff.data.check.report import save_json, to_text
from exdiff.data.check.run import check_data

__all__ = ["check_data", "save_json", "to_text"]
